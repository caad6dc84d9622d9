//! Syncline keeps the people, groups and contacts of a directory the same in Microsoft Entra ID.
//!
//! Data flows one way, round a circle: a *connector* imports a directory into its *connector space*,
//! the engine joins and projects objects into the *metaverse* by rules, works out what every target
//! should look like, exports the differences, and confirms them by importing the target again.
//!
//! Read in this order: [`model`] (the nouns), [`connector`] (what a directory is to us), [`store`] (what we
//! remember), [`rules`] (what people configured), [`engine`] (the circle). `ARCHITECTURE.md` has the walls
//! between them and says why they stand where they stand.

pub mod alert;
pub mod cli;
pub mod config;
pub mod connector;
pub mod context;
pub mod directory_generator;
pub mod engine;
pub mod events;
pub mod lint;
pub mod migration;
pub mod model;
pub mod password;
pub mod protocol;
pub mod rules;
pub mod schedule;
pub mod server;
pub mod service;
pub mod store;
pub mod tenant;
