use super::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A stream that takes as much as it is told to, and remembers.
#[derive(Default)]
struct Peer {
    /// How many bytes each coming write takes; when none is left, writes have to wait.
    takes: VecDeque<io::Result<usize>>,
    taken: Vec<u8>,
    writes: usize,
    writer: Option<Waker>,
    gives: VecDeque<u8>,
    shut: bool,
}

impl Peer {
    fn taking(takes: impl IntoIterator<Item = usize>) -> Self {
        Self {
            takes: takes.into_iter().map(Ok).collect(),
            ..Self::default()
        }
    }

    fn take_more(&mut self, count: usize) {
        self.takes.push_back(Ok(count));
        self.writer.take().expect("it waits for this stream").wake();
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(takes) = self.takes.pop_front() else {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let count = takes?.min(bytes.len());
        self.taken.extend_from_slice(&bytes[..count]);
        self.writes += 1;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.gives.pop_front() {
            Some(byte) => {
                buf.put_slice(&[byte]);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection's task, polled by hand.
struct Task {
    io: Coalesced<Peer>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl Task {
    /// Over a stream that gathers writes already.
    fn over(peer: Peer) -> Self {
        let mut task = Self::new(peer);
        task.io.gathers = true;
        task
    }

    fn new(peer: Peer) -> Self {
        let wakes = Arc::new(Wakes::default());
        Self {
            io: Coalesced::new(peer),
            waker: wakes.clone().into(),
            wakes,
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(&mut Context::from_waker(&self.waker), bytes)
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(&mut Context::from_waker(&self.waker))
    }

    fn shutdown(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(&mut Context::from_waker(&self.waker))
    }

    fn read(&mut self) -> Poll<io::Result<u8>> {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        let cx = &mut Context::from_waker(&self.waker);
        Pin::new(&mut self.io)
            .poll_read(cx, &mut buf)
            .map_ok(|()| buf.filled()[0])
    }
}

#[track_caller]
fn done<T>(outcome: Poll<io::Result<T>>) -> T {
    match outcome {
        Poll::Ready(outcome) => outcome.expect("it goes well"),
        Poll::Pending => panic!("it has to wait"),
    }
}

#[test]
fn a_flush_is_never_lost_and_many_writes_leave_as_one() {
    let mut task = Task::over(Peer::taking([usize::MAX]));
    for reply in [b"one ", b"two "] {
        assert_eq!(done(task.write(reply)), 4);
        done(task.flush());
    }
    assert!(task.wakes() > 0, "the task has to be polled again");
    assert_eq!(task.io.stream.writes, 0);
    assert!(task.read().is_pending());
    assert_eq!(task.io.stream.taken, b"one two ");
    assert_eq!(task.io.stream.writes, 1);
}

#[test]
fn a_lone_caller_does_not_wait_for_company_and_a_crowd_gathers_again() {
    let mut task = Task::new(Peer::taking([usize::MAX; 99]));
    for _ in 0..FLUSHES {
        done(task.write(b"a"));
        done(task.flush());
    }
    assert_eq!(task.io.stream.writes, FLUSHES as usize);
    assert_eq!(task.wakes(), 0, "nothing is left to be done");
    // More without a read between: these are replies to several callers.
    for _ in 0..5 {
        done(task.write(b"b"));
        done(task.flush());
    }
    assert_eq!(task.io.stream.writes, FLUSHES as usize + 1);
    assert!(task.wakes() > 0);
    assert!(task.read().is_pending());
    assert_eq!(task.io.stream.writes, FLUSHES as usize + 2);
    for _ in 0..LONE {
        assert!(task.io.gathers);
        done(task.write(b"c"));
        done(task.flush());
        assert!(task.read().is_pending());
    }
    assert!(!task.io.gathers, "gathering has brought nothing");
    let writes = task.io.stream.writes;
    done(task.write(b"d"));
    done(task.flush());
    assert_eq!(task.io.stream.writes, writes + 1);
}

#[test]
fn a_clear_stream_is_flushed_without_a_wake() {
    let mut task = Task::over(Peer::taking([usize::MAX]));
    done(task.flush());
    done(task.write(b"one"));
    done(task.flush());
    assert!(task.read().is_pending());
    let wakes = task.wakes();
    done(task.flush());
    assert!(task.read().is_pending());
    assert_eq!(task.wakes(), wakes, "an idle connection is left in peace");
}

#[test]
fn what_leaves_in_parts_leaves_in_order() {
    let mut task = Task::over(Peer::taking([1, 3, 1]));
    done(task.write(b"abcdef"));
    done(task.flush());
    assert!(task.read().is_pending());
    assert_eq!(task.io.stream.taken, b"abcde");
    done(task.write(b"ghi"));
    assert!(task.flush().is_pending());
    task.io.stream.take_more(usize::MAX);
    done(task.flush());
    assert_eq!(task.io.stream.taken, b"abcdefghi");
}

#[test]
fn a_flush_that_has_to_wait_is_woken_by_the_stream_and_does_not_spin() {
    let mut task = Task::over(Peer::default());
    done(task.write(b"one"));
    done(task.flush());
    assert!(
        task.read().is_pending(),
        "and now it is known that the stream takes nothing"
    );
    let wakes = task.wakes();
    assert!(task.flush().is_pending());
    assert!(task.read().is_pending());
    assert!(task.flush().is_pending());
    assert_eq!(task.wakes(), wakes, "only the stream may wake it now");
    task.io.stream.take_more(usize::MAX);
    assert_eq!(task.wakes(), wakes + 1);
    done(task.flush());
    assert_eq!(task.io.stream.taken, b"one");
}

#[test]
fn a_peer_that_takes_nothing_holds_up_the_writer_at_the_limit() {
    let mut task = Task::over(Peer::default());
    let frame = [7; 16 * 1024];
    let frames = (0..).take_while(|_| task.write(&frame).is_ready()).count();
    assert_eq!(frames * frame.len(), LIMIT);
    assert!(task.write(b"x").is_pending());
    assert_eq!(task.io.kept.len(), LIMIT);
    task.io.stream.take_more(usize::MAX);
    assert_eq!(done(task.write(b"x")), 1);
    assert_eq!(task.io.stream.taken.len(), LIMIT);
}

#[test]
fn more_than_the_limit_goes_past_in_order() {
    let mut task = Task::over(Peer::taking([usize::MAX; 2]));
    done(task.write(b"first"));
    let large = vec![7; LIMIT + 1];
    assert_eq!(done(task.write(&large)), LIMIT + 1);
    assert_eq!(task.io.stream.taken, [b"first", &large[..]].concat());
    assert!(task.io.is_clear());
}

#[test]
fn a_shutdown_first_hands_down_what_is_kept() {
    let mut task = Task::over(Peer::taking([2]));
    done(task.write(b"last"));
    done(task.flush());
    assert!(task.shutdown().is_pending());
    assert!(!task.io.stream.shut);
    task.io.stream.take_more(usize::MAX);
    done(task.shutdown());
    assert!(task.io.stream.shut);
    assert_eq!(task.io.stream.taken, b"last");
}

#[test]
fn what_a_peer_sent_before_it_left_is_read_before_the_error_is_said() {
    let mut task = Task::over(Peer::default());
    task.io
        .stream
        .takes
        .push_back(Err(io::ErrorKind::BrokenPipe.into()));
    task.io.stream.gives.extend(b"hi");
    done(task.write(b"one"));
    done(task.flush());
    assert_eq!((done(task.read()), done(task.read())), (b'h', b'i'));
    let Poll::Ready(Err(error)) = task.read() else {
        panic!("the write failed")
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn an_error_is_said_to_whoever_writes_next() {
    for next in [
        Task::flush as fn(&mut Task) -> Poll<io::Result<()>>,
        Task::shutdown,
    ] {
        let mut task = Task::over(Peer::default());
        task.io
            .stream
            .takes
            .push_back(Err(io::ErrorKind::BrokenPipe.into()));
        task.io.stream.gives.extend(b"h");
        done(task.write(b"one"));
        done(task.read());
        let Poll::Ready(Err(error)) = next(&mut task) else {
            panic!("the write failed")
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn what_was_flushed_is_offered_once_more_when_the_connection_is_dropped() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut io = Coalesced::new(near);
    io.gathers = true;
    io.write_all(b"goodbye").await.expect("it is kept");
    io.flush().await.expect("it is promised");
    drop(io);
    let mut text = String::new();
    far.read_to_string(&mut text).await.expect("the end");
    assert_eq!(text, "goodbye");
}

#[tokio::test]
async fn bytes_stay_in_order_through_a_narrow_pipe_in_both_directions() {
    const TOTAL: usize = 1 << 20;
    let (near, far) = tokio::io::duplex(1000);
    let (mut far_read, mut far_write) = tokio::io::split(far);
    let bytes: Vec<u8> = (0..TOTAL).map(|n| (n % 251) as u8).collect();
    let (mut read, mut write) = tokio::io::split(Coalesced::new(near));
    let (mut here, mut there) = (vec![0; TOTAL], vec![0; TOTAL]);
    let send = async {
        for piece in bytes.chunks(777) {
            write.write_all(piece).await?;
            write.flush().await?;
        }
        write.shutdown().await
    };
    let all = async {
        tokio::try_join!(
            send,
            far_write.write_all(&bytes),
            async { read.read_exact(&mut here).await.map(|_| ()) },
            async { far_read.read_exact(&mut there).await.map(|_| ()) },
        )
    };
    let within = std::time::Duration::from_secs(30);
    tokio::time::timeout(within, all)
        .await
        .expect("in time")
        .expect("no errors");
    assert!(here == bytes && there == bytes);
}
