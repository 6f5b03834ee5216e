//! Lambda's control plane: functions, versions, aliases, tags; state and store.
