//! Who goes when there are too many, and who is told of.

use super::*;

const LONG: Duration = Duration::from_secs(3600);

/// Connected sockets, whose other ends stay open as long as this does.
struct Field {
    listener: tokio::net::TcpListener,
    peers: Vec<TcpStream>,
}

impl Field {
    async fn new() -> Self {
        Self { listener: tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), peers: Vec::new() }
    }

    async fn stream(&mut self) -> TcpStream {
        let peer = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        self.peers.push(peer);
        self.listener.accept().await.unwrap().0
    }

    async fn admit(&mut self, table: &Arc<Connections>, source: u8, endpoint: u32, cap: usize) -> Place {
        let stream = self.stream().await;
        table.admit(stream, IpAddr::from([192, 0, 2, source]), endpoint, cap, (LONG, LONG))
    }
}

fn fate(places: &[Place]) -> Vec<Verdict> {
    places.iter().map(|place| place.live.verdict()).collect()
}

#[tokio::test]
async fn the_quietest_of_the_greediest_source_goes() {
    let mut field = Field::new().await;
    let table = Connections::new(4, 100);
    let mut places = Vec::new();
    for source in [1, 2, 2, 2] {
        places.push(field.admit(&table, source, 0, 100).await);
    }
    // The lone source was quiet for longest of all.
    for (place, active) in places.iter().zip([0, 7, 5, 9]) {
        place.live.touch(active);
    }
    let last = field.admit(&table, 3, 0, 100).await;
    assert_eq!(fate(&places), [Verdict::None, Verdict::None, Verdict::Evicted, Verdict::None]);
    assert_eq!(last.live.verdict(), Verdict::None);
}

#[tokio::test]
async fn those_who_are_going_cost_nobody_else_a_place() {
    let mut field = Field::new().await;
    let table = Connections::new(3, 100);
    let mut places = Vec::new();
    for source in [1, 1, 1, 2] {
        places.push(field.admit(&table, source, 0, 100).await);
    }
    let gone = |places: &[Place]| fate(places).iter().filter(|verdict| **verdict == Verdict::Evicted).count();
    assert_eq!(gone(&places), 1);
    // One more above the cap, though the one that goes has not gone yet: one more goes, not two.
    places.push(field.admit(&table, 3, 0, 100).await);
    assert_eq!(gone(&places), 2);
    table.relieve();
    assert_eq!(gone(&places), 2);
    drop(places);
    assert_eq!(table.count(), 0);
    let table = table.lock();
    assert_eq!((table.ending, table.sources.len(), table.endpoints[&0]), (0, 0, 0));
}

#[tokio::test]
async fn an_endpoint_at_its_cap_ends_its_own_greediest() {
    let mut field = Field::new().await;
    let table = Connections::new(100, 100);
    let mut places = Vec::new();
    for (source, endpoint) in [(1, 0), (2, 0), (2, 0), (2, 0), (3, 9), (3, 9), (3, 9), (3, 9)] {
        places.push(field.admit(&table, source, endpoint, 100).await);
    }
    for (place, active) in places.iter().zip([0, 7, 5, 9]) {
        place.live.touch(active);
    }
    let _newest = field.admit(&table, 4, 0, 4).await;
    // Neither the lone source, quiet for longest, nor the greediest of all, who is elsewhere.
    let evicted: Vec<usize> = (0..places.len()).filter(|n| places[*n].live.verdict() == Verdict::Evicted).collect();
    assert_eq!(evicted, [2]);
}

#[tokio::test]
async fn a_source_at_its_cap_pays_itself() {
    let mut field = Field::new().await;
    let table = Connections::new(100, 2);
    let mut places = Vec::new();
    for source in [1, 1, 2, 2] {
        places.push(field.admit(&table, source, 0, 100).await);
    }
    places[0].live.touch(3);
    places[1].live.touch(2);
    places[2].live.touch(1);
    let newest = field.admit(&table, 1, 0, 100).await;
    newest.live.touch(4);
    let of_first: Vec<Verdict> = fate(&places)[..2].iter().copied().chain([newest.live.verdict()]).collect();
    assert_eq!(of_first.iter().filter(|verdict| **verdict == Verdict::Evicted).count(), 1);
    assert_eq!(fate(&places)[2..], [Verdict::None, Verdict::None]);
}

#[tokio::test]
async fn the_sweep_knows_idle_from_too_long() {
    let mut field = Field::new().await;
    let table = Connections::new(10, 10);
    let source = IpAddr::from([192, 0, 2, 1]);
    let second = Duration::from_secs(1);
    let idle = table.admit(field.stream().await, source, 0, 10, (second, LONG));
    let total = table.admit(field.stream().await, source, 0, 10, (LONG, second));
    let patient = table.admit(field.stream().await, source, 0, 10, (second, LONG));
    patient.live.set_idle(LONG);
    while table.now() < 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    table.sweep();
    assert_eq!(
        [idle.live.verdict(), total.live.verdict(), patient.live.verdict()],
        [Verdict::Idle, Verdict::Total, Verdict::None]
    );
    // The first verdict stands.
    table.end(None);
    assert_eq!([idle.live.verdict(), patient.live.verdict()], [Verdict::Idle, Verdict::Stopping]);
    // A verdict reads like the end of input.
    idle.live.stream.readable().await.unwrap();
    assert_eq!(idle.live.stream.try_read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn ends_one_endpoint_alone() {
    let mut field = Field::new().await;
    let table = Connections::new(10, 10);
    let places = [field.admit(&table, 1, 1, 10).await, field.admit(&table, 1, 2, 10).await];
    table.end(Some(2));
    assert_eq!(fate(&places), [Verdict::None, Verdict::Stopping]);
}

#[tokio::test]
async fn a_source_at_a_limit_is_told_of_once_a_minute() {
    let mut field = Field::new().await;
    let table = Connections::new(100, 1);
    let source = IpAddr::from([192, 0, 2, 1]);
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push(field.admit(&table, 1, 0, 100).await);
    }
    assert_eq!(table.limited(), [(source, 3)]);
    assert!(table.limited().is_empty());
    // More in the same minute: kept for the next word.
    places.push(field.admit(&table, 1, 0, 100).await);
    assert!(table.limited().is_empty());
    assert_eq!(table.lock().limited[&source].count, 1);
}
