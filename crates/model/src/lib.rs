//! Load, run and save a network whose weights may be in any format.
//!
//! [`Checkpoint`] opens a safetensors directory or a GGUF file without decoding anything,
//! [`Summary`] says what is inside, [`Encoder`] turns texts into vectors with a BERT-like
//! network, [`Classifier`] texts and pairs of them into scores of labels, [`Decoder`] tokens into
//! logits with a Llama-like network, [`Network`] is an encoder or a decoder with a [`Tap`] on what
//! its weights read, [`save`] writes a compressed copy of a model that loads the same way,
//! [`PackedStore`] keeps weights in the form they are run in.
//!
//! **Invariant:** this crate trains nothing and knows no index; bytes of foreign files never
//! panic and never make it allocate more than a small multiple of the file.

mod activation;
mod arch;
mod cache;
mod cancel;
mod checkpoint;
mod classifier;
mod config;
mod decoder;
mod encoder;
mod error;
mod file;
mod generate;
mod grammar;
mod layer;
mod limit;
mod name;
mod network;
mod outline;
mod pool;
mod sample;
mod save;
mod schedule;
mod store;
mod summary;
mod tap;
mod template;
mod tokenizer;
mod trunk;
mod view;
mod weight;
mod worker;

pub use activation::{ActivationError, Activations, Compute};
pub use arch::llama::{Step, Workspace};
pub use cache::{Cache, CacheFormat, CacheFormatError};
pub use cancel::Cancel;
pub use checkpoint::{Checkpoint, HeaderError, TensorInfo};
pub use classifier::{Classifier, Squash, Texts};
pub use decoder::{Decoder, ForwardOptions};
pub use encoder::{EmbedOptions, Encoder};
pub use error::{EmbedError, ForwardError, LoadError};
pub use generate::{
    Ending, Engine, EngineOptions, Event, Finish, Finished, GenerateError, Overflow, Request,
    RequestError, RequestId, Token,
};
pub use grammar::{Grammar, GrammarError, Grammars};
pub use kvant_kernels::{Cores, CoresError, PinError, Pool};
pub use network::{Network, ObserveError, ObserveOptions};
pub use outline::{Family, Naming, Outline};
pub use sample::{Choice, Sampler, Sampling, SamplingError};
pub use save::{
    Container, ContainerError, ConvertOptions, FloatFormat, SaveError, SaveOptions, SavedTensor,
    convert, save, save_gguf,
};
pub use schedule::{EmbedId, Embedded, Schedule, ScheduleOptions, SubmitError};
pub use store::PackedStore;
pub use summary::{Summary, TokenizerSummary};
pub use tap::Tap;
pub use template::{Answer, Message, Template, TemplateError};
pub use view::View;
pub use weight::{Dense, Weight};
