//! A reader of Python pickles that builds plain values and calls nothing.
//!
//! A pickle is a program for a stack machine; this one knows the few instructions that saved
//! state dictionaries consist of. Names of classes are looked up in a list; what is not in it is
//! an error, so no name in a file ever leads to code. Values live in one table and refer to one
//! another by number, which keeps sharing and cycles harmless; memory is a small multiple of the
//! pickle's length.

use std::collections::HashMap;

use super::format::Format;
use super::header::{HeaderError, printable};
use crate::limit::{DIMENSIONS, NAME_BYTES, PICKLE_OPS, PICKLE_TEXT_BYTES};

/// Arguments of a call, at most.
const ARGUMENTS: usize = 16;

/// Place of a value in [`Pickle::nodes`].
pub(super) type Id = usize;

/// A value of a pickle.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Something without meaning for weights: None, a float, a device.
    Inert,
    Bool(bool),
    Int(i128),
    Text(String),
    /// A tuple, a list or a `torch.Size`.
    List(Vec<Id>),
    /// A dictionary, ordered or not.
    Dict(Vec<(Id, Id)>),
    Class(Class),
    /// Place in [`Pickle::storages`].
    Storage(usize),
    Tensor(View),
}

impl Node {
    /// The value as the key of a dictionary: a number or a text of the length of a name.
    pub(super) fn key(&self) -> Option<String> {
        if let Self::Int(number) = self {
            return Some(number.to_string());
        }
        let Self::Text(text) = self else { return None };
        (text.len() <= NAME_BYTES).then(|| text.clone())
    }
}

/// The classes and functions a pickle may name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    OrderedDict,
    Size,
    Tensor,
    Parameter,
    Storage(&'static str),
    Inert,
}

const CLASSES: [(&str, &str, Class); 24] = [
    ("collections", "OrderedDict", Class::OrderedDict),
    ("torch", "Size", Class::Size),
    ("torch._utils", "_rebuild_tensor", Class::Tensor),
    ("torch._utils", "_rebuild_tensor_v2", Class::Tensor),
    ("torch._utils", "_rebuild_parameter", Class::Parameter),
    ("torch", "FloatStorage", Class::Storage("F32")),
    ("torch", "DoubleStorage", Class::Storage("F64")),
    ("torch", "HalfStorage", Class::Storage("F16")),
    ("torch", "BFloat16Storage", Class::Storage("BF16")),
    ("torch", "LongStorage", Class::Storage("I64")),
    ("torch", "IntStorage", Class::Storage("I32")),
    ("torch", "ShortStorage", Class::Storage("I16")),
    ("torch", "CharStorage", Class::Storage("I8")),
    ("torch", "ByteStorage", Class::Storage("U8")),
    ("torch", "BoolStorage", Class::Storage("BOOL")),
    ("torch", "device", Class::Inert),
    ("torch", "float32", Class::Inert),
    ("torch", "float64", Class::Inert),
    ("torch", "float16", Class::Inert),
    ("torch", "bfloat16", Class::Inert),
    ("torch", "int64", Class::Inert),
    ("torch", "int8", Class::Inert),
    ("torch", "uint8", Class::Inert),
    ("torch", "bool", Class::Inert),
];

/// A piece of memory that tensors are views of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) format: &'static Format,
    pub(super) elements: usize,
}

/// A tensor: every `stride`-th element of a storage from `offset` on.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) storage: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Vec<usize>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
    pub(super) storages: Vec<Storage>,
    /// Bytes it took.
    pub(super) length: usize,
}

/// Reads the pickle at the beginning of `data`.
pub(super) fn read(data: &[u8]) -> Result<Pickle, HeaderError> {
    let mut machine = Machine {
        rest: data,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        storages: Vec::new(),
        keys: HashMap::new(),
    };
    for _ in 0..PICKLE_OPS {
        let [op] = machine.array()?;
        if op == b'.' {
            let root = machine.pop()?;
            let length = data.len() - machine.rest.len();
            let Machine { nodes, storages, .. } = machine;
            return Ok(Pickle { nodes, root, storages, length });
        }
        machine.step(op)?;
    }
    let (what, limit) = ("the number of instructions of the pickle", PICKLE_OPS);
    Err(HeaderError::TooLarge { what, got: limit + 1, limit })
}

struct Machine<'a> {
    rest: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack that an instruction may ask for.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    storages: Vec<Storage>,
    keys: HashMap<String, usize>,
}

fn broken(why: &str) -> HeaderError {
    HeaderError::Syntax { why: format!("the pickle {why}") }
}

impl<'a> Machine<'a> {
    fn step(&mut self, op: u8) -> Result<(), HeaderError> {
        match op {
            // PROTO and FRAME: nothing to do.
            0x80 => drop(self.array::<1>()?),
            0x95 => drop(self.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            // POP; and BUILD, which gives a dictionary attributes such as _metadata.
            b'0' | b'b' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'q' => {
                let [at] = self.array()?;
                self.remember(u32::from(at))?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.array()?);
                self.remember(at)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [at] = self.array()?;
                self.recall(u32::from(at))?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.array()?);
                self.recall(at)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.class(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.text(module)?, self.text(name)?);
                self.class(&module, &name)?;
            }
            b'R' | 0x81 => self.call()?,
            b'Q' => self.persistent()?,
            _ if self.literal(op)? || self.container(op)? => {}
            _ => {
                let got = format!("{op:#04x} ({:?})", char::from(op));
                let (what, expected) = ("an instruction", "one that plain tensors need");
                return Err(HeaderError::Unknown { what, got, expected });
            }
        }
        Ok(())
    }

    /// Pushes a number, a text or a constant, if `op` is one.
    fn literal(&mut self, op: u8) -> Result<bool, HeaderError> {
        let node = match op {
            b'N' => Node::Inert,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'K' => Node::Int(i128::from(self.array::<1>()?[0])),
            b'M' => Node::Int(i128::from(u16::from_le_bytes(self.array()?))),
            b'J' => Node::Int(i128::from(i32::from_le_bytes(self.array()?))),
            0x8A => {
                let [length] = self.array()?;
                let bytes = self.take(usize::from(length))?;
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut wide = [if negative { 0xFF } else { 0 }; 16];
                let head =
                    wide.get_mut(..bytes.len()).ok_or_else(|| broken("has a huge number"))?;
                head.copy_from_slice(bytes);
                Node::Int(i128::from_le_bytes(wide))
            }
            b'G' => {
                self.array::<8>()?;
                Node::Inert
            }
            0x8C | b'U' => {
                let [length] = self.array()?;
                self.string(u64::from(length))?
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.string(u64::from(length))?
            }
            0x8D => {
                let length = u64::from_le_bytes(self.array()?);
                self.string(length)?
            }
            b'C' => {
                let [length] = self.array()?;
                self.take(usize::from(length))?;
                Node::Inert
            }
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.take(length as usize)?;
                Node::Inert
            }
            _ => return Ok(false),
        };
        self.push(node);
        Ok(true)
    }

    /// Makes or fills a tuple, list or dictionary, if `op` does so.
    fn container(&mut self, op: u8) -> Result<bool, HeaderError> {
        match op {
            b')' | b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(op - 0x84));
                let from = from.ok_or_else(|| broken("takes from an empty stack"))?;
                let items = self.stack.split_off(from);
                self.push(Node::List(items));
            }
            b't' | b'l' => {
                let items = self.marked()?;
                self.push(Node::List(items));
            }
            b'a' | b'e' => {
                let items = if op == b'a' { vec![self.pop()?] } else { self.marked()? };
                let Node::List(list) = self.top()? else {
                    return Err(broken("appends to what is no list"));
                };
                list.extend(items);
            }
            b's' | b'u' | b'd' => {
                if op == b'd' {
                    let items = self.marked()?;
                    self.push(Node::Dict(Vec::new()));
                    self.enter(&items)?;
                } else if op == b's' {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.enter(&[key, value])?;
                } else {
                    let items = self.marked()?;
                    self.enter(&items)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn enter(&mut self, items: &[Id]) -> Result<(), HeaderError> {
        let (pairs, rest) = items.as_chunks::<2>();
        let (Node::Dict(dict), []) = (self.top()?, rest) else {
            return Err(broken("sets an entry of what is no dictionary"));
        };
        dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    /// The whole meaning of REDUCE here: a tensor, a parameter, a dictionary, a size.
    fn call(&mut self) -> Result<(), HeaderError> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let Node::Class(class) = self.nodes[class] else {
            return Err(broken("calls what is no known class"));
        };
        let arguments = self.few(arguments)?;
        match (class, &arguments[..]) {
            (Class::OrderedDict, []) => self.push(Node::Dict(Vec::new())),
            (Class::Size | Class::Parameter, [inner, ..]) => self.stack.push(*inner),
            (Class::Inert, _) => self.push(Node::Inert),
            (Class::Tensor, [storage, offset, shape, stride, ..]) => {
                let Node::Storage(storage) = self.nodes[*storage] else {
                    return Err(broken("makes a tensor of what is no storage"));
                };
                let offset = self.size(*offset)?;
                let (shape, stride) = (self.sizes(*shape)?, self.sizes(*stride)?);
                self.push(Node::Tensor(View { storage, offset, shape, stride }));
            }
            _ => return Err(broken("calls a class with other arguments than PyTorch")),
        }
        Ok(())
    }

    /// A reference to a storage: `("storage", class, key, device, elements)`.
    fn persistent(&mut self) -> Result<(), HeaderError> {
        let id = self.pop()?;
        let other = || broken("refers to something else than a storage");
        let parts = self.few(id)?;
        let [kind, class, key, _, elements, view @ ..] = &parts[..] else { return Err(other()) };
        let plain = view.iter().all(|&part| matches!(self.nodes[part], Node::Inert));
        let Node::Class(Class::Storage(format)) = self.nodes[*class] else { return Err(other()) };
        if self.text(*kind)? != "storage" || !plain {
            return Err(other());
        }
        let format = Format::from_safetensors(format).ok_or_else(other)?;
        let storage = Storage { key: self.text(*key)?, format, elements: self.size(*elements)? };
        let next = self.storages.len();
        let at = *self.keys.entry(storage.key.clone()).or_insert(next);
        match self.storages.get(at) {
            None => self.storages.push(storage),
            Some(known) if *known == storage => {}
            Some(_) => return Err(broken("describes one storage in two ways")),
        }
        self.push(Node::Storage(at));
        Ok(())
    }

    fn class(&mut self, module: &str, name: &str) -> Result<(), HeaderError> {
        // Python 2 wrote names of its own; none of them is needed for weights.
        let known = CLASSES.iter().find(|(m, n, _)| *m == module && *n == name);
        let (_, _, class) = known.ok_or_else(|| {
            let got = format!("{}.{}", printable(module), printable(name));
            let expected = "tensors in dictionaries; save model.state_dict() instead";
            HeaderError::Unknown { what: "a class of the pickle", got, expected }
        })?;
        self.push(Node::Class(*class));
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn pop(&mut self) -> Result<Id, HeaderError> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(broken("takes from an empty stack"));
        }
        self.stack.pop().ok_or_else(|| broken("takes from an empty stack"))
    }

    fn top(&mut self) -> Result<&mut Node, HeaderError> {
        let top = self.stack.last().and_then(|&top| self.nodes.get_mut(top));
        top.ok_or_else(|| broken("takes from an empty stack"))
    }

    /// What was pushed since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, HeaderError> {
        let mark = self.marks.pop().ok_or_else(|| broken("misses a mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, at: u32) -> Result<(), HeaderError> {
        let top = self.stack.last().ok_or_else(|| broken("takes from an empty stack"))?;
        self.memo.insert(at, *top);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<(), HeaderError> {
        let id = self.memo.get(&at).ok_or_else(|| broken("recalls what was never remembered"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn text(&self, id: Id) -> Result<String, HeaderError> {
        let wrong = || broken("has something else where a short text is needed");
        let Node::Text(text) = &self.nodes[id] else { return Err(wrong()) };
        if text.len() > NAME_BYTES { Err(wrong()) } else { Ok(text.clone()) }
    }

    /// The items of a short list: arguments are copied, and long ones would be copied often.
    fn few(&self, id: Id) -> Result<Vec<Id>, HeaderError> {
        let wrong = || broken("has something else where a few arguments are needed");
        let Node::List(list) = &self.nodes[id] else { return Err(wrong()) };
        if list.len() > ARGUMENTS {
            return Err(wrong());
        }
        Ok(list.clone())
    }

    fn size(&self, id: Id) -> Result<usize, HeaderError> {
        let wrong = || broken("has something else where a size is needed");
        let Node::Int(value) = self.nodes[id] else { return Err(wrong()) };
        usize::try_from(value).map_err(|_| wrong())
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, HeaderError> {
        let wrong = || broken("has something else where a shape is needed");
        let Node::List(list) = &self.nodes[id] else { return Err(wrong()) };
        if list.len() > DIMENSIONS {
            return Err(wrong());
        }
        list.iter().map(|&id| self.size(id)).collect()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], HeaderError> {
        let split = self.rest.split_at_checked(count);
        let (taken, rest) = split.ok_or(HeaderError::Truncated { what: "the pickle" })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let split = self.rest.split_first_chunk();
        let (taken, rest) = split.ok_or(HeaderError::Truncated { what: "the pickle" })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn line(&mut self) -> Result<String, HeaderError> {
        let end = self.rest.iter().take(PICKLE_TEXT_BYTES as usize).position(|b| *b == b'\n');
        let end = end.ok_or_else(|| broken("has a line without end"))?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.array::<1>()?;
        Ok(line)
    }

    fn string(&mut self, length: u64) -> Result<Node, HeaderError> {
        if length > PICKLE_TEXT_BYTES {
            let (what, limit) = ("the length of a text", PICKLE_TEXT_BYTES);
            return Err(HeaderError::TooLarge { what, got: length, limit });
        }
        Ok(Node::Text(String::from_utf8_lossy(self.take(length as usize)?).into_owned()))
    }
}
