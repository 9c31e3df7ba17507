//! What a request asks for, and how urgent it is.

/// Declares the operations once: number on the wire, name in logs and metrics.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)+) => {
        /// The kind of a request. Numbers are part of the wire format and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Operation { $($(#[$doc])* $name = $number),+ }

        impl Operation {
            /// Every operation there is.
            pub const ALL: &[Operation] = &[$(Operation::$name),+];

            /// The operation of a number from the wire; `None` when we know none.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Operation> {
                match number { $($number => Some(Operation::$name),)+ _ => None }
            }

            /// The name used in logs and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => $text),+ }
            }
        }
    };
}

operations! {
    /// Is anybody there?
    Ping = 1, "ping";
    /// A client's request for another node, which the client cannot reach.
    Relay = 2, "relay";

    /// Replication traffic between replicas; one way.
    Replicate = 16, "replicate";
    /// A piece of a snapshot for a replica that is catching up.
    Snapshot = 17, "snapshot";
    /// Asks a replica for good bytes to mend a damaged copy with.
    Mend = 18, "mend";

    /// Writes bytes of a chunk.
    DataWrite = 32, "data-write";
    /// Reads bytes of a chunk.
    DataRead = 33, "data-read";
    /// Makes everything acknowledged so far durable on all in-sync replicas.
    DataFlush = 34, "data-flush";
    /// Takes bytes of a chunk away: they read as zeros, and their room comes back.
    DataTrim = 35, "data-trim";
    /// Deletes all of an object for good.
    DataDelete = 36, "data-delete";
    /// Finds data and holes.
    DataExtents = 37, "data-extents";

    /// A command that changes a namespace.
    NamespaceCommand = 48, "namespace-command";
    /// A question to a namespace.
    NamespaceQuery = 49, "namespace-query";
    /// Makes every acknowledged command durable.
    NamespaceFlush = 50, "namespace-flush";
    /// Waits for events that concern one client session.
    NamespaceEvents = 51, "namespace-events";

    /// A node presents itself to the control plane.
    ControlJoin = 64, "control-join";
    /// A node re-states its condition.
    ControlHeartbeat = 65, "control-heartbeat";
    /// A leader asks for a change of its partition's configuration.
    ControlChange = 66, "control-change";
    /// A client asks where a volume's partitions are.
    ControlRoutes = 67, "control-routes";
    /// Members of the control plane among themselves.
    ControlRaft = 68, "control-raft";
    /// The control plane tells a node what it should hold.
    Assign = 69, "assign";
    /// A member passes a person's request on to the leader.
    ControlAdmin = 70, "control-admin";

    /// A client stays attached to a volume, and waits until something becomes of it.
    ControlWatch = 71, "control-watch";

    /// Asks a node what one of its replicas holds, for comparison.
    Inspect = 80, "inspect";
    /// Asks a node which replicas there are in the folders of its disks.
    Contents = 81, "contents";
    /// Asks a node what happened on its sessions.
    Sessions = 82, "sessions";
    /// Asks a node what one of its replicas holds, to verify it: between hosts.
    Scrub = 83, "scrub";
}

impl Operation {
    /// Whether this is something that clients ask in that class. Everything else is between the hosts
    /// of a cluster; among them, data and namespaces are asked in other classes than *foreground*.
    #[must_use]
    pub fn is_for_clients(self, class: Class) -> bool {
        match self {
            Operation::Ping | Operation::ControlWatch | Operation::Inspect => true,
            // In the background nodes ask, who are told without a token.
            Operation::ControlRoutes => class != Class::Background,
            Operation::Relay => class == Class::Foreground,
            // What is new is refused until somebody says otherwise.
            operation => operation.is_on_volume() && class == Class::Foreground,
        }
    }

    /// Whether it is something that the replicas of a volume do for its clients, directly or through
    /// another node.
    #[must_use]
    pub fn is_on_volume(self) -> bool {
        matches!(
            self,
            Operation::DataWrite
                | Operation::DataRead
                | Operation::DataFlush
                | Operation::DataTrim
                | Operation::DataDelete
                | Operation::DataExtents
                | Operation::NamespaceCommand
                | Operation::NamespaceQuery
                | Operation::NamespaceFlush
                | Operation::NamespaceEvents
        )
    }
}

/// Each class has sessions of its own, so that bulk traffic never delays a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Heartbeats, configuration, consensus.
    Control = 0,
    /// What a client waits for, and replication of it.
    Foreground = 1,
    /// Repair, scrub, transfer of snapshots.
    Background = 2,
}

impl Class {
    /// The class of a number from the wire; `None` when there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Class> {
        match number {
            0 => Some(Class::Control),
            1 => Some(Class::Foreground),
            2 => Some(Class::Background),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_ask_for_routes_as_nodes_do() {
        let routes = Operation::ControlRoutes;
        assert!(routes.is_for_clients(Class::Control) && routes.is_for_clients(Class::Foreground));
        assert!(!routes.is_for_clients(Class::Background));
    }

    #[test]
    fn numbers_and_names_are_distinct_and_known() {
        let names: std::collections::BTreeSet<_> =
            Operation::ALL.iter().map(|o| o.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
        for operation in Operation::ALL {
            assert_eq!(Operation::from_number(*operation as u16), Some(*operation));
        }
        assert_eq!(Operation::from_number(0), None);
    }
}
