//! The engine, and how it comes back after its store failed.

use crate::engine::Engine;
use crate::store::{Store, StoreError, guarded};

/// Opens the store: at the beginning, and again after a failure.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Store, StoreError> + Send>;

/// Owns the engine. After a failed commit nothing is answered from memory: the engine is dropped and the store opened again.
pub(crate) struct Host {
    engine: Option<Engine>,
    opener: Opener,
    process: u64,
    /// Connections of this process by engines that are gone.
    connections: u32,
    automatic: bool,
}

impl Host {
    pub(crate) fn open(mut opener: Opener, process: u64) -> Result<Self, StoreError> {
        let engine = opened(&mut opener, process)?;
        Ok(Self { engine: Some(engine), opener, process, connections: 0, automatic: false })
    }

    /// The engine; opened again where the store had failed.
    pub(crate) fn engine(&mut self) -> Result<&mut Engine, StoreError> {
        if self.engine.is_none() {
            let mut engine = opened(&mut self.opener, self.process)?;
            engine.set_automatic(self.automatic);
            engine.set_connections(self.connections);
            self.engine = Some(engine);
        }
        Ok(self.engine.as_mut().expect("it was just opened"))
    }

    /// The engine, if the store has not failed.
    pub(crate) fn healthy(&mut self) -> Option<&mut Engine> {
        self.engine.as_mut()
    }

    /// The store failed.
    pub(crate) fn drop_engine(&mut self) {
        let engine = self.engine.take();
        self.connections = engine.as_ref().map_or(self.connections, Engine::connections);
        // A store that cannot be closed is opened again all the same.
        let _ = guarded(|| drop(engine));
    }

    pub(crate) fn set_automatic(&mut self, automatic: bool) {
        self.automatic = automatic;
        if let Some(engine) = &mut self.engine {
            engine.set_automatic(automatic);
        }
    }
}

fn opened(opener: &mut Opener, process: u64) -> Result<Engine, StoreError> {
    guarded(|| Engine::open(opener()?, process))?
}
