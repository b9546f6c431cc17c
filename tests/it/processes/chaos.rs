//! Two replicas against everything that can happen to them, at once and by a seed: `kill -9` at every
//! named step and at any moment, a way to Postgres that breaks, stalls and slows down, Postgres
//! cutting sessions and locking the table, a provider that fails, drops, delays and cuts, webhooks that come twice and
//! in another order, rows that somebody changes with SQL; by its `climate` also servers and poolers
//! that are killed, a standby that takes over, processes that are replaced, rows that go with their
//! users. Apps go on all the while and hold each answer to its word: `committed` is there and can be
//! referred to, and what was committed more than a second ago is what a read shows. Consumers stop
//! and go on. Then everything heals, and the table, the changes replayed, what consumers took and
//! the provider are the same, exactly.
//!
//! `CHAOS_SEED` and `CHAOS_SECONDS` set it; the long one is run with `--ignored`.

mod app;
mod climate;
mod consumers;
mod dice;
mod elsewhere;
mod eyes;
mod ground;
mod ledger;
mod lives;
mod neighbour;
mod todos;
mod truth;
mod visitors;
mod weather;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use usertap::config::settings::process_env;
use usertap::sandbox::Options;
use uuid::Uuid;

use super::World;
use super::failover::both_hosts;
use crate::support::now;
use crate::support::process::{Settings, setting};
use crate::support::relay::Relay;
use climate::Climate;
use dice::Dice;
use eyes::Eyes;
use ground::Place;
use ledger::Ledger;
use neighbour::{Door, Told};
use todos::Todos;

/// Apps that ask at once.
const APPS: u64 = 12;
const BLOWS: Duration = Duration::from_secs(18);
const LULL: Duration = Duration::from_secs(9);
const SCHEMA: &str = "neon_identity";
/// Waits: until the provider can no longer be at a write, and until rows are looked for whose time to go has come.
const SHORTENED: &str = "carried-out=2500ms,purge-every=1000ms";

struct Chaos {
    climate: Climate,
    world: World,
    place: Place,
    /// Wherever the database is.
    eyes: Eyes,
    seats: [Seat; 2],
    ledger: Ledger,
    /// Users whom no app has made.
    elsewhere: Mutex<Vec<Uuid>>,
    /// Users whose rows somebody removed with SQL.
    removed: Mutex<BTreeSet<Uuid>>,
    todos: Todos,
    neighbour: Told,
    begun: Instant,
    ends: Instant,
}

/// A replica's place: its folders and its way to the database stay, processes come and go.
struct Seat {
    relay: Relay,
    settings: Settings,
    /// A process has one of them for itself.
    folders: Vec<PathBuf>,
    serving: Mutex<Option<Address>>,
}

#[derive(Debug, Clone)]
struct Address {
    listen: String,
    admin: String,
    neighbour: Option<Door>,
}

impl Chaos {
    async fn new(climate: Climate, lasting: Duration) -> Chaos {
        let options = Options {
            rate: climate.limit.map(|limit| super::rate(limit, 1)),
            projects: 1 + usize::from(climate.has_neighbour),
            ..Options::default()
        };
        let mut world = World::new(options).await;
        let place = Place::under(&mut world, climate).await;
        let world = world
            .and("USERTAP_RATE", format!("{}/1s", climate.limit.unwrap_or(1_000)))
            .and("USERTAP_DELETED", climate.deleted.setting())
            .and(
                "USERTAP_SYNC",
                if climate.is_async {
                    "async"
                } else {
                    "before-response"
                },
            )
            .and(
                "USERTAP_RECORD_BUFFER",
                if climate.streams { "8KiB" } else { "4MiB" },
            )
            .and("USERTAP_LOG", "warn,usertap=info")
            .and("USERTAP_CACHE_TTL", "20s")
            .and("USERTAP_TIMEOUT", "3s")
            .and("USERTAP_SYNC_TIMEOUT", "500ms");
        let secret = world.control().webhooks(0).expect("a project").secret();
        let world = world.and("USERTAP_WEBHOOK_SECRET", &secret);
        let seats = [
            Seat::new(&world, climate, "one", &place).await,
            Seat::new(&world, climate, "other", &place).await,
        ];
        Chaos {
            climate,
            eyes: Eyes::new(&world.url, ""),
            place,
            world,
            seats,
            removed: Mutex::default(),
            todos: Todos::default(),
            neighbour: Told::default(),
            ledger: Ledger::default(),
            elsewhere: Mutex::default(),
            begun: now(),
            ends: now() + lasting,
        }
    }

    /// In a long one all is well now and then, and what waits is written.
    fn is_lull(&self) -> bool {
        let since = now().saturating_duration_since(self.begun).as_millis();
        !self.is_over() && since % (BLOWS + LULL).as_millis() >= BLOWS.as_millis()
    }

    async fn lull_passes(&self) {
        while self.is_lull() {
            tokio::time::sleep(Duration::from_millis(50)).await;
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
    async fn new(world: &World, climate: Climate, name: &str, place: &Place) -> Seat {
        let standby = place.standby_port(climate).await;
        let both = |url: &str| match standby {
            Some(port) => both_hosts(&url.into(), port).expose_secret().to_owned(),
            None => url.to_owned(),
        };
        let pooler = place.pooler_port().await;
        let mut url: url::Url = world.url.expose_secret().parse().expect("a URL");
        let relay = Relay::to(pooler.or(url.port()).expect("a port")).await;
        relay.open();
        url.set_port(Some(relay.addr.port())).expect("a port");
        let folders = if climate.rolls { 2 } else { 1 };
        let folders = (0..folders).map(|n| world.folder.path().join(format!("{name}-{n}")));
        let settings = vec![
            setting("DATABASE_URL", both(url.as_str())),
            // No bad weather there: what is tested is that nothing depends on it.
            setting("DATABASE_DIRECT_URL", both(world.url.expose_secret())),
        ];
        Seat {
            relay,
            folders: folders.collect(),
            settings,
            serving: Mutex::default(),
        }
    }
}

async fn run(seed: u64, climate: Climate, lasting: Duration) {
    println!(
        "chaos: CHAOS_SEED={seed} CHAOS_SECONDS={} {climate:?}",
        lasting.as_secs()
    );
    let mut chaos = Chaos::new(climate, lasting).await;
    chaos.begins().await;
    chaos.begun = now();
    chaos.ends = chaos.begun + lasting;
    let dice = |of: u64| Dice::new(seed.wrapping_mul(1_000).wrapping_add(of));
    let apps = futures_util::future::join_all((0..APPS).map(|app| app::asks(&chaos, app, dice(app))));
    let consumers = consumers::ALL.into_iter().zip(140..);
    let consumers = consumers.map(|(by, of)| consumers::of(&chaos, by, dice(of)));
    let consumers = futures_util::future::join_all(consumers);
    let chaos = &chaos;
    let (consumers, ..) = tokio::join!(
        consumers,
        apps,
        lives::of(chaos, 0, dice(110)),
        lives::of(chaos, 1, dice(111)),
        weather::at_the_provider(chaos, dice(120)),
        weather::on_the_way(chaos, 0, dice(121)),
        weather::on_the_way(chaos, 1, dice(122)),
        weather::in_the_database(chaos, dice(123)),
        weather::walks(chaos, dice(124)),
        weather::fronts(chaos, dice(125)),
        ground::server_falls(chaos, dice(126)),
        ground::pooler_restarts(chaos, dice(127)),
        neighbour::asks(chaos, dice(128)),
        visitors::come(chaos, dice(129)),
        elsewhere::at_the_provider(chaos, dice(130)),
        elsewhere::in_the_mail(chaos, dice(131)),
        elsewhere::by_hand(chaos, dice(132)),
    );
    truth::holds(chaos, consumers).await;
}

fn asked(name: &str) -> Option<u64> {
    process_env().get(name)?.to_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_in_a_short_storm() {
    let seed = asked("CHAOS_SEED").unwrap_or(30);
    run(seed, Climate::of(seed, true), Duration::from_secs(18)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes: CHAOS_SECONDS says how many seconds, CHAOS_SEED which storm"]
async fn nothing_is_lost_in_a_long_storm() {
    let lasting = Duration::from_secs(asked("CHAOS_SECONDS").unwrap_or(300));
    let seed = asked("CHAOS_SEED").unwrap_or(2);
    run(seed, Climate::of(seed, false), lasting).await;
}
