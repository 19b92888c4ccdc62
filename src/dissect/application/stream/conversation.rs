//! What one followed flow says: takes the bytes in order of both directions and cuts them into
//! messages.

use super::super::detect::{self, Application, Sample, Verdict};
use super::super::{ftp, http};
use super::results::{Bytes, Refused, Results};
use super::{Counters, Step, count};
use crate::dissect::Protocol;
use crate::flow::blocks::{Blocks, Chain};
use crate::flow::reassembly::{Consumer, Origin};
use crate::limits::{DETECT_BYTES_MAX, FTP_MESSAGE_MAX, HTTP_HEAD_BYTES_MAX};
use crate::packet::Direction;

/// How the bytes of one direction are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reader {
    /// To find out what they are.
    Detect,
    Http(http::Parser),
    Ftp(ftp::Parser),
}

impl Reader {
    /// The reader of an application, if it has one.
    pub(super) fn of(application: Application) -> Option<Self> {
        match application {
            Application::Http => Some(Self::Http(http::Parser::new())),
            Application::Ftp => Some(Self::Ftp(ftp::Parser::new())),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Side {
    reader: Reader,
    /// First part of a message, or of what is to be detected.
    kept: Chain,
}

/// State of one followed flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversation {
    sides: [Side; 2],
    methods: http::Methods,
}

impl Conversation {
    pub(super) fn new(reader: Reader) -> Self {
        let side = Side {
            reader,
            kept: Chain::EMPTY,
        };
        Self {
            sides: [side; 2],
            methods: http::Methods::default(),
        }
    }

    pub(super) fn clear(&mut self, blocks: &mut Blocks) {
        for side in &mut self.sides {
            side.kept.clear(blocks);
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        let [originator, responder] = &mut self.sides;
        match direction {
            Direction::Originator => originator,
            Direction::Responder => responder,
        }
    }
}

/// What became of a flow with one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on.
    Open,
    /// Its application is known now.
    Named(Application),
    /// Bytes were seen that name nothing.
    Nothing,
    /// The rest is of no interest: encrypted, or another protocol.
    Ended,
    /// Both with the same segment.
    NamedAndEnded(Application),
}

impl Outcome {
    /// Is nothing more to be read?
    fn ended(self) -> bool {
        match self {
            Self::Ended | Self::NamedAndEnded(_) => true,
            Self::Named(application) => Reader::of(application).is_none(),
            Self::Open | Self::Nothing => false,
        }
    }
}

/// Takes what the assembler delivers for one segment.
#[derive(Debug)]
pub(super) struct Sink<'s> {
    pub(super) conversation: &'s mut Conversation,
    pub(super) blocks: &'s mut Blocks,
    /// Where a message, or a sample, in several blocks is put together.
    pub(super) scratch: &'s mut Vec<u8>,
    pub(super) sample: &'s mut Vec<u8>,
    pub(super) results: &'s mut Results,
    pub(super) counters: &'s mut Counters,
    /// Offset of the segment's payload in its frame.
    pub(super) payload_offset: usize,
    /// Ports of the segment, and who sent it.
    pub(super) ports: (u16, u16),
    pub(super) sender: Direction,
    pub(super) outcome: Outcome,
}

impl Consumer for Sink<'_> {
    fn data(&mut self, direction: Direction, bytes: &[u8], origin: Origin) {
        let bytes = match origin {
            Origin::Segment(offset) => {
                Bytes::Frame(self.payload_offset.saturating_add(offset), bytes)
            }
            Origin::Buffer => Bytes::Copy(bytes),
        };
        if self.outcome.ended() {
            return;
        }
        match self.conversation.side(direction).reader {
            Reader::Detect => self.detect(direction, bytes),
            _ => self.read(direction, bytes),
        }
    }

    fn gap(&mut self, direction: Direction, length: u32) {
        let side = self.conversation.side(direction);
        match &mut side.reader {
            Reader::Http(parser) => {
                if parser.gap(length) {
                    self.give_cut(direction);
                }
            }
            Reader::Ftp(parser) => *parser = ftp::Parser::new(),
            Reader::Detect => {}
        }
        self.drop_kept(direction);
    }

    fn end(&mut self, direction: Direction) {
        if let Reader::Http(parser) = &mut self.conversation.side(direction).reader {
            parser.end();
            self.give_cut(direction);
        }
        self.drop_kept(direction);
    }
}

impl Sink<'_> {
    /// Name the application, if these bytes and those kept before are enough.
    fn detect(&mut self, direction: Direction, bytes: Bytes<'_>) {
        let mut joined = std::mem::take(self.sample);
        let side = self.conversation.side(direction);
        let sample = if side.kept.is_empty() {
            bytes
        } else {
            let length = side.kept.len().saturating_add(bytes.get().len());
            let fits = length <= DETECT_BYTES_MAX;
            if fits && side.kept.append(self.blocks, bytes.get()) {
                side.kept.copy_to(self.blocks, &mut joined);
            } else {
                joined.clear();
            }
            Bytes::Copy(&joined)
        };
        match detect::tcp(&self.sample_of(direction, sample.get())) {
            Verdict::Is(application) => {
                // What the other side kept was not enough to say the same: it goes, too.
                self.drop_kept(direction);
                self.drop_kept(direction.reverse());
                self.outcome = Outcome::Named(application);
                if let Some(reader) = Reader::of(application) {
                    self.conversation.side(direction).reader = reader;
                    self.conversation.side(direction.reverse()).reader = reader;
                    self.read(direction, sample);
                }
            }
            Verdict::More if !sample.get().is_empty() && sample.get().len() < DETECT_BYTES_MAX => {
                let side = self.conversation.side(direction);
                if side.kept.is_empty() && !side.kept.append(self.blocks, bytes.get()) {
                    count(&mut self.counters.no_block);
                    self.drop_kept(direction);
                }
            }
            Verdict::More | Verdict::No => {
                self.drop_kept(direction);
                self.outcome = Outcome::Nothing;
            }
        }
        *self.sample = joined;
    }

    fn sample_of<'a>(&self, direction: Direction, payload: &'a [u8]) -> Sample<'a> {
        let (source, destination) = self.ports;
        let (source_port, destination_port) = if direction == self.sender {
            (source, destination)
        } else {
            (destination, source)
        };
        Sample {
            payload,
            source_port,
            destination_port,
        }
    }

    /// Cut bytes into messages.
    fn read(&mut self, direction: Direction, bytes: Bytes<'_>) {
        let mut rest = bytes;
        while !rest.get().is_empty() && !self.outcome.ended() {
            let step = match &mut self.conversation.side(direction).reader {
                Reader::Http(parser) => {
                    let was_lost = parser.is_lost();
                    let step = parser.step(rest.get());
                    if parser.is_lost() && !was_lost {
                        count(&mut self.counters.lost);
                    }
                    step
                }
                Reader::Ftp(parser) => parser.step(rest.get()),
                Reader::Detect => return,
            };
            let (Step::Skip(length) | Step::Keep { length, .. } | Step::Cut { length }) = step;
            // A parser always takes something; should one not, this still ends.
            let (part, later) = rest.split(length.max(1));
            rest = later;
            match step {
                Step::Skip(_) => {}
                Step::Keep { complete, .. } => self.keep(direction, part, complete),
                Step::Cut { .. } => {
                    self.keep(direction, part, false);
                    self.too_large(direction);
                }
            }
        }
    }

    /// Bytes of the current message.
    fn keep(&mut self, direction: Direction, part: Bytes<'_>, complete: bool) {
        let side = self.conversation.side(direction);
        let bytes_max = match side.reader {
            Reader::Ftp(_) => FTP_MESSAGE_MAX,
            _ => HTTP_HEAD_BYTES_MAX,
        };
        let room = bytes_max.saturating_sub(side.kept.len());
        if part.get().len() > room {
            let (part, _) = part.split(room);
            let _ = side.kept.append(self.blocks, part.get());
            self.too_large(direction);
            if let (true, Reader::Http(parser)) =
                (complete, &mut self.conversation.side(direction).reader)
            {
                parser.resync();
            }
            return;
        }
        if complete && side.kept.is_empty() {
            self.give(direction, part);
            return;
        }
        if !side.kept.append(self.blocks, part.get()) {
            count(&mut self.counters.no_block);
            if let Reader::Http(parser) = &mut side.reader {
                parser.resync();
            }
            self.drop_kept(direction);
            return;
        }
        if complete {
            let mut scratch = std::mem::take(self.scratch);
            side.kept.copy_to(self.blocks, &mut scratch);
            self.drop_kept(direction);
            self.give(direction, Bytes::Copy(&scratch));
            *self.scratch = scratch;
        }
    }

    /// A message is complete.
    fn give(&mut self, direction: Direction, bytes: Bytes<'_>) {
        let Conversation { sides, methods } = self.conversation;
        let Some(side) = sides.get_mut(direction.index()) else {
            return;
        };
        let (protocol, kind, ends) = match &mut side.reader {
            Reader::Http(parser) => match parser.head_done(bytes.get(), methods) {
                Some((kind, tunnel)) => (Protocol::Http, kind, tunnel),
                None => {
                    count(&mut self.counters.lost);
                    return;
                }
            },
            Reader::Ftp(_) => match ftp::kind(bytes.get()) {
                Some(kind) => (Protocol::Ftp, kind, ftp::starts_tls(bytes.get())),
                None => {
                    count(&mut self.counters.lost);
                    return;
                }
            },
            Reader::Detect => return,
        };
        self.emit(protocol, kind, bytes);
        if ends {
            self.stop();
        }
    }

    /// A message is beyond its bounds: what there is of it is given, the rest is passed over.
    fn too_large(&mut self, direction: Direction) {
        self.give_cut(direction);
        self.drop_kept(direction);
        match &mut self.conversation.side(direction).reader {
            Reader::Http(parser) => parser.too_large(),
            Reader::Ftp(_) => self.stop(),
            Reader::Detect => {}
        }
    }

    /// The kept first part of a header block is all that will come of it: its whole lines count.
    fn give_cut(&mut self, direction: Direction) {
        let side = self.conversation.side(direction);
        if side.kept.is_empty() || !matches!(side.reader, Reader::Http(_)) {
            return;
        }
        let mut scratch = std::mem::take(self.scratch);
        side.kept.copy_to(self.blocks, &mut scratch);
        let end = memchr::memrchr(b'\n', &scratch).map_or(0, |end| end.saturating_add(1));
        scratch.truncate(end);
        if let Some(kind) = http::kind(&scratch) {
            count(&mut self.counters.messages_cut);
            self.emit(Protocol::Http, kind, Bytes::Copy(&scratch));
        }
        *self.scratch = scratch;
    }

    fn emit(&mut self, protocol: Protocol, kind: u8, bytes: Bytes<'_>) {
        match self.results.add(protocol, kind, bytes) {
            Ok(()) => count(&mut self.counters.messages),
            Err(Refused::TooMany) => count(&mut self.counters.messages_over),
            Err(Refused::ArenaFull) => count(&mut self.counters.arena_full),
        }
    }

    fn drop_kept(&mut self, direction: Direction) {
        self.conversation.side(direction).kept.clear(self.blocks);
    }

    fn stop(&mut self) {
        self.outcome = match self.outcome {
            Outcome::Named(application) => Outcome::NamedAndEnded(application),
            _ => Outcome::Ended,
        };
    }
}
