//! Two replicas against everything that can happen to them, at once and by a seed: `kill -9` at every
//! named step and at any moment, a way to Postgres that breaks, stalls and slows down, Postgres
//! cutting sessions and locking the table, a provider that fails, drops, delays and cuts, webhooks that come twice and
//! in another order, rows that somebody changes with SQL. Apps go on
//! all the while and hold each answer to its word: `committed` is there, and what was committed more
//! than a second ago is what a read shows. Then everything heals, and the table, the changes replayed
//! and the provider are the same, exactly.
//!
//! `CHAOS_SEED` and `CHAOS_SECONDS` set it; the long one is run with `--ignored`.

mod app;
mod dice;
mod elsewhere;
mod ledger;
mod lives;
mod truth;
mod weather;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use usertap::config::settings::process_env;
use uuid::Uuid;

use super::{World, through_a_relay};
use crate::support::now;
use crate::support::process::{Settings, setting};
use crate::support::relay::Relay;
use dice::Dice;
use ledger::Ledger;

/// Apps that ask at once.
const APPS: u64 = 12;
/// Where everything is well again, the provider can no longer be at a write after so long.
const CARRIED_OUT: &str = "carried-out=2500ms";

struct Chaos {
    world: World,
    seats: [Seat; 2],
    ledger: Ledger,
    /// Users whom no app has made.
    elsewhere: Mutex<Vec<Uuid>>,
    ends: Instant,
}

/// A replica's place: its folder and its way to the database stay, processes come and go.
struct Seat {
    relay: Relay,
    settings: Settings,
    serving: Mutex<Option<Address>>,
}

#[derive(Debug, Clone)]
struct Address {
    listen: String,
    admin: String,
}

impl Chaos {
    async fn new(lasting: Duration) -> Chaos {
        let world = World::with_users(0).await;
        let world = world
            .and("USERTAP_LOG", "warn,usertap=info")
            .and("USERTAP_CACHE_TTL", "20s")
            .and("USERTAP_SYNC_TIMEOUT", "500ms");
        let secret = world.control().webhooks(0).expect("a project").secret();
        let world = world.and("USERTAP_WEBHOOK_SECRET", &secret);
        let seats = [Seat::new(&world, "one").await, Seat::new(&world, "other").await];
        Chaos {
            world,
            seats,
            ledger: Ledger::default(),
            elsewhere: Mutex::default(),
            ends: now() + lasting,
        }
    }

    fn is_over(&self) -> bool {
        now() >= self.ends
    }

    /// One of those that serve at this moment.
    fn any(&self, dice: &mut Dice) -> Option<Address> {
        let seat = &self.seats[dice.below(2) as usize];
        seat.serving.lock().expect("no panic").clone()
    }
}

impl Seat {
    async fn new(world: &World, name: &str) -> Seat {
        let (relay, url) = through_a_relay(world).await;
        relay.open();
        let folder = world.folder.path().join(name);
        let settings = vec![
            setting("DATABASE_URL", url),
            // No bad weather there: what is tested is that nothing depends on it.
            setting("DATABASE_DIRECT_URL", world.url.expose_secret()),
            setting("USERTAP_DATA_DIR", folder.display()),
        ];
        Seat {
            relay,
            settings,
            serving: Mutex::default(),
        }
    }
}

async fn run(seed: u64, lasting: Duration) {
    println!("chaos: CHAOS_SEED={seed} CHAOS_SECONDS={}", lasting.as_secs());
    let chaos = Chaos::new(lasting).await;
    chaos.begins().await;
    let dice = |of: u64| Dice::new(seed.wrapping_mul(1_000).wrapping_add(of));
    let apps = futures_util::future::join_all((0..APPS).map(|app| app::asks(&chaos, app, dice(app))));
    let chaos = &chaos;
    tokio::join!(
        apps,
        lives::of(chaos, 0, dice(110)),
        lives::of(chaos, 1, dice(111)),
        weather::at_the_provider(chaos, dice(120)),
        weather::on_the_way(chaos, 0, dice(121)),
        weather::on_the_way(chaos, 1, dice(122)),
        weather::in_the_database(chaos, dice(123)),
        weather::walks(chaos, dice(124)),
        elsewhere::at_the_provider(chaos, dice(130)),
        elsewhere::in_the_mail(chaos, dice(131)),
        elsewhere::by_hand(chaos, dice(132)),
    );
    truth::holds(chaos).await;
}

fn asked(name: &str) -> Option<u64> {
    process_env().get(name)?.to_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_in_a_short_storm() {
    run(asked("CHAOS_SEED").unwrap_or(1), Duration::from_secs(18)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes: CHAOS_SECONDS says how many seconds, CHAOS_SEED which storm"]
async fn nothing_is_lost_in_a_long_storm() {
    let lasting = Duration::from_secs(asked("CHAOS_SECONDS").unwrap_or(300));
    run(asked("CHAOS_SEED").unwrap_or(2), lasting).await;
}
