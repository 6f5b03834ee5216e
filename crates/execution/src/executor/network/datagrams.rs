//! Datagrams of functions to the outside, and the answers.
//!
//! What one program's socket sends to one destination is a flow, with a socket of its own on the host's network that hears
//! that destination only. It ends when nothing has passed for a while. Must not read what passes.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdDatagrams},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hothouse_sandbox::{Arrival, GATEWAY, Replies};
use rustix::net::{RecvFlags, SendFlags};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::Semaphore,
    task::coop::consume_budget,
    time::{Instant, sleep, sleep_until},
};

use super::{DATAGRAM_BYTES, DNS_PORT, PAUSE, Tasks, names::Names, policy};

/// Flows of one environment at once; what would need another is dropped.
const FLOWS: usize = 256;

/// Questions to name servers that wait for their answers; what would be another is dropped.
const QUESTIONS: usize = 128;

/// A flow ends when nothing has passed for so long.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// The same for flows to name servers, which are asked once.
const IDLE_LIMIT_NAMES: Duration = Duration::from_secs(30);

/// Who sends in the sandbox, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    source: SocketAddrV4,
    destination: SocketAddrV4,
}

#[derive(Debug)]
struct Flow {
    outside: UdpSocket,
    active: Mutex<Instant>,
}

impl Flow {
    fn open(destination: SocketAddrV4) -> io::Result<Flow> {
        let socket = StdDatagrams::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(destination)?;
        socket.set_nonblocking(true)?;
        Ok(Flow { outside: UdpSocket::from_std(socket)?, active: Mutex::new(Instant::now()) })
    }

    fn touch(&self) {
        *lock(&self.active) = Instant::now();
    }
}

type Flows = Arc<Mutex<HashMap<Ends, Arc<Flow>>>>;

/// Relays what is received here, forever.
pub(super) async fn relay(inside: UdpSocket, replies: Arc<Replies>, names: Arc<Names>, tasks: Tasks) {
    let relay = Relay {
        replies,
        names,
        tasks,
        flows: Flows::default(),
        questions: Arc::new(Semaphore::new(QUESTIONS)),
    };
    loop {
        if let Err(error) = inside.readable().await {
            tracing::debug!(%error, "failed to wait for datagrams to the outside");
            sleep(PAUSE).await;
            continue;
        }
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            match inside.try_io(Interest::READABLE, || Arrival::receive(&inside, &mut buffer)) {
                Ok(arrival) => relay.send(arrival, &buffer[..arrival.length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!(%error, "failed to receive a datagram to the outside");
                    sleep(PAUSE).await;
                    break;
                }
            }
            // Others share the thread.
            consume_budget().await;
        }
    }
}

struct Relay {
    replies: Arc<Replies>,
    names: Arc<Names>,
    tasks: Tasks,
    flows: Flows,
    questions: Arc<Semaphore>,
}

impl Relay {
    fn send(&self, Arrival { source, destination, .. }: Arrival, payload: &[u8]) {
        if destination == SocketAddrV4::new(GATEWAY, DNS_PORT) {
            return self.ask(source, payload);
        }
        if let Some(reason) = policy::refusal(*destination.ip()) {
            tracing::debug!(%destination, reason, "refused a datagram to the outside");
            return;
        }
        if let Some(flow) = self.flow(Ends { source, destination }) {
            flow.touch();
            // As on any network, what finds no room or no receiver is lost.
            // Straight to the socket, since the reactor does not know yet that a new one can be written to.
            if let Err(error) = rustix::net::send(&flow.outside, payload, SendFlags::DONTWAIT) {
                tracing::debug!(%destination, %error, "failed to send a datagram to the outside");
            }
        }
    }

    /// The flow between these ends, a new one if there is none.
    fn flow(&self, ends: Ends) -> Option<Arc<Flow>> {
        let mut flows = lock(&self.flows);
        if let Some(flow) = flows.get(&ends) {
            return Some(flow.clone());
        }
        if flows.len() >= FLOWS {
            tracing::debug!(limit = FLOWS, "an environment sends datagrams to too many destinations");
            return None;
        }
        let flow = match Flow::open(ends.destination) {
            Ok(flow) => Arc::new(flow),
            Err(error) => {
                tracing::debug!(destination = %ends.destination, %error, "failed to open a way to the outside");
                return None;
            }
        };
        flows.insert(ends, flow.clone());
        let (flows, replies) = (self.flows.clone(), self.replies.clone());
        let answered = flow.clone();
        self.tasks.spawn(async move {
            answers(&answered, ends, &replies).await;
            lock(&flows).remove(&ends);
        });
        Some(flow)
    }

    /// Asks the host's name servers.
    fn ask(&self, source: SocketAddrV4, question: &[u8]) {
        let Ok(permit) = self.questions.clone().try_acquire_owned() else {
            tracing::debug!(limit = QUESTIONS, "an environment asks name servers too much at once");
            return;
        };
        let (replies, names, question) = (self.replies.clone(), self.names.clone(), question.to_owned());
        self.tasks.spawn(async move {
            if let Some(answer) = names.ask(question).await {
                answer_to(&replies, SocketAddrV4::new(GATEWAY, DNS_PORT), source, &answer);
            }
            drop(permit);
        });
    }
}

/// Brings answers in until the flow has been idle.
async fn answers(flow: &Flow, ends: Ends, replies: &Replies) {
    let idle_limit = if ends.destination.port() == DNS_PORT { IDLE_LIMIT_NAMES } else { IDLE_LIMIT };
    loop {
        let until = *lock(&flow.active) + idle_limit;
        tokio::select! {
            _ = flow.outside.ready(RECEIVING) => {}
            () = sleep_until(until) => {
                if *lock(&flow.active) + idle_limit <= Instant::now() {
                    return;
                }
                continue;
            }
        }
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            match try_receive(&flow.outside, &mut buffer) {
                Ok(length) => {
                    flow.touch();
                    answer_to(replies, ends.destination, ends.source, &buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Says that an earlier datagram found nobody.
                Err(error) => {
                    tracing::debug!(destination = %ends.destination, %error, "a datagram to the outside was lost");
                }
            }
            consume_budget().await;
        }
    }
}

/// What a reactor must wait for on a connected socket: an answer, or word that nobody is there.
pub(super) const RECEIVING: Interest = Interest::READABLE.add(Interest::ERROR);

/// The size of the datagram that was received, or why there will be none; `WouldBlock` if nothing has come.
pub(super) fn try_receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    match socket.try_recv(buffer) {
        // The reactor keeps word of errors apart, and takes one interest at a time.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            socket.try_io(Interest::ERROR, || Ok(rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT)?.0))
        }
        received => received,
    }
}

fn answer_to(replies: &Replies, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    if let Err(error) = replies.send(from, to, payload) {
        tracing::debug!(%from, %to, %error, "failed to bring in an answer from the outside");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map and an instant: nothing can be left half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
