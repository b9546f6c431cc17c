//! Changes that pass no proxy, and the webhooks that tell of them: late, twice, again until acknowledged.

use super::figures::Event;
use super::waiting::Then;
use super::without::Without;
use super::world::{Hook, World};
use crate::clock;
use crate::user::{Origin, Seen, Sent};

impl World<'_> {
    /// In the provider's own console.
    pub fn change_elsewhere(&mut self, user: usize, is_told: bool) {
        let is_told = is_told && self.tells;
        let content = self.provider.any(&mut self.dice);
        let moment = self.provider.becomes(user, content, clock::now());
        self.note(|| {
            format!("user {user} becomes {content:?} elsewhere (moment {moment}, webhook: {is_told})")
        });
        if is_told {
            self.is_to_be_told(user, moment);
            self.send_webhook(user, moment);
        }
    }

    pub fn send_webhook(&mut self, user: usize, moment: usize) {
        let copies = 1 + usize::from(self.dice.one_in(3));
        let number = self.hooks.len() as u64 + 1 + self.hooks.last().map_or(0, |hook| hook.number);
        let since = clock::now();
        self.hooks.push(Hook {
            number,
            user,
            moment,
            copies,
            is_under_way: false,
            since,
        });
    }

    /// A webhook arrives at a machine, however late.
    pub fn deliver_webhook(&mut self, machine: usize) {
        let free = self
            .hooks
            .iter()
            .enumerate()
            .filter(|(_, hook)| !hook.is_under_way);
        let free: Vec<usize> = free.map(|(at, _)| at).collect();
        let Some(at) = self.dice.one_of(&free) else { return };
        let hook = &mut self.hooks[at];
        hook.is_under_way = true;
        let (number, user, moment) = (hook.number, hook.user, hook.moment);
        if clock::now() > hook.since {
            self.figures.count(Event::LateWebhook);
        }
        let sent = match self.without {
            Without::WebhookNever => self.shared(machine).head.sent(),
            _ => Sent::NEVER,
        };
        let seen = self
            .provider
            .whole(user, moment, &mut self.dice)
            .unwrap_or(Seen::Touched);
        self.note(|| format!("a webhook of user {user} as of moment {moment} arrives at machine {machine}"));
        let observation = self.observation(user, moment, seen, sent, Origin::Webhook);
        let then = Then::Ack(number);
        self.submit(machine, vec![observation], Vec::new(), Vec::new(), Some(then));
        if self.without == Without::AckOnceDurable {
            self.acknowledge(number);
        }
    }

    pub fn acknowledge(&mut self, number: u64) {
        let Some(at) = self.hooks.iter().position(|hook| hook.number == number) else {
            return;
        };
        let hook = &mut self.hooks[at];
        hook.is_under_way = false;
        hook.copies -= 1;
        if hook.copies == 0 {
            self.hooks.remove(at);
        } else {
            self.figures.count(Event::DoubledWebhook);
        }
    }
}
