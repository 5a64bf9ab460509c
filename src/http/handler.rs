//! What does each method do, and to what? A request is accepted when its head is here (`accept`) and
//! answered when its body is here too (`answer`). PUT looks at its conditions at both times, because
//! another request may have put the same file meanwhile.

use crate::http::HttpSession;
use crate::http::body::BodyAction;
use crate::http::conditions::{Conditions, Version};
use crate::http::form::Form;
use crate::http::own::{allowed, file_at};
use crate::http::request::{Framing, Method, Request};
use crate::http::response::Reply;
use crate::http::status::Refusal;
use crate::http::target::misdirected;
use crate::store::{self, Guard, Upload, check_name};

impl HttpSession {
    /// The head is complete: what is to be done with the body?
    pub fn accept(&self, request: &Request) -> Result<BodyAction, Refusal> {
        if !self.names.include(&request.target.host) {
            return Err(Refusal::new(421, misdirected(&request.target.host)));
        }
        self.admit(request)?;
        let path = &*request.target.path;
        match request.method {
            Method::Get | Method::Head | Method::Delete | Method::Options => Ok(BodyAction::Discard(None)),
            Method::Put => self.put(request),
            Method::Post if path == b"/" => {
                let form = Form::begin(request, self.store.clone(), self.request_log.files());
                form.map(BodyAction::Form)
            }
            _ => Err(Refusal::method(allowed(path))),
        }
    }

    /// The request is complete, with its body. `None`: close without a reply.
    pub fn answer(&mut self, request: &Request, action: BodyAction) -> Result<Option<Reply>, Refusal> {
        let reply = match (action, request.method) {
            (BodyAction::Store(upload, conditions), _) => return self.stored(upload, &conditions),
            (BodyAction::Form(form), _) => form.finish(),
            (BodyAction::Discard(Some(refusal)), _) => Err(refusal),
            (BodyAction::Discard(None), Method::Delete) => self.delete(request),
            (BodyAction::Discard(None), Method::Options) => {
                Ok(Reply::new(204).field("Allow", allowed(&request.target.path)))
            }
            // GET and HEAD: all others are matched above, or have not been accepted.
            (BodyAction::Discard(None), _) => self.get(request),
        };
        reply.map(Some)
    }

    /// GET and HEAD
    fn get(&self, request: &Request) -> Result<Reply, Refusal> {
        if let Some(reply) = self.own(request)? {
            return Ok(reply);
        }
        let name = file_at(&request.target.path)?;
        let (file, about) = self.store.read(name)?;
        let version = Version::of(&about);
        if Conditions::of(request)?.check(Some(&version), true)? {
            return Ok(Reply::new(304).version(&version));
        }
        Reply::file(request, name, file, &version)
    }

    /// PUT, before its body.
    fn put(&self, request: &Request) -> Result<BodyAction, Refusal> {
        let name = file_at(&request.target.path)?;
        if request.framing == Framing::None {
            let reason = "say the length of the content, or send it in chunks";
            return Err(Refusal::new(411, reason));
        }
        if request.fields.one("content-range")?.is_some() {
            let reason = "a part of a file cannot be put; send all of it";
            return Err(Refusal::new(400, reason));
        }
        // Such a file can never exist: 404 would not tell a client that wants to create it why.
        check_name(name).map_err(|error| Refusal::new(400, error.to_string()))?;
        let conditions = Conditions::of(request)?;
        self.require(&conditions, name)?;
        let upload = self.store.create(name)?;
        if let Framing::Length(size) = request.framing {
            upload.require_room(size)?;
        }
        Ok(BodyAction::Store(upload, conditions))
    }

    /// PUT, after its body; `None` when neither success nor an error would be true.
    fn stored(&mut self, upload: Upload, conditions: &Conditions) -> Result<Option<Reply>, Refusal> {
        let _guard = self.require(conditions, upload.name().as_bytes())?;
        let mut reply = Reply::new(if self.store.has(upload.name()) { 204 } else { 201 });
        match upload.commit() {
            Ok(size) => {
                reply.brought = size;
                Ok(Some(reply))
            }
            Err(store::Error::Uncertain(error)) => {
                self.request_log.end(0, &format!("storage error: {error}"));
                Ok(None)
            }
            Err(other) => Err(other.into()),
        }
    }

    /// DELETE
    fn delete(&self, request: &Request) -> Result<Reply, Refusal> {
        let name = file_at(&request.target.path)?;
        let _guard = self.require(&Conditions::of(request)?, name)?;
        self.store.remove(name)?;
        Ok(Reply::new(204))
    }

    /// The conditions under which a file may be changed. As long as the result lives, no other request with
    /// conditions can change it.
    fn require(&self, conditions: &Conditions, name: &[u8]) -> Result<Option<Guard>, Refusal> {
        if conditions.are_none() {
            return Ok(None);
        }
        let guard = self.store.guard()?;
        let version = match self.store.read(name) {
            Ok((_, about)) => Some(Version::of(&about)),
            Err(store::Error::NotFound) => None,
            Err(other) => return Err(other.into()),
        };
        conditions.check(version.as_ref(), false)?;
        Ok(Some(guard))
    }
}
