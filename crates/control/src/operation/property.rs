//! Random clusters, random trouble, random orders: whatever happens, operations keep their promises.
