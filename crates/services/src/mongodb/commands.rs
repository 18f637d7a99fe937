//! Names of commands: which exist, and which belong to the `admin` database.

/// Commands of mongod 7.0 without its tests' own, sorted.
#[rustfmt::skip] // several a line
const KNOWN: &[&str] = &[
    "abortTransaction", "aggregate", "analyze", "applyOps", "authenticate", "buildInfo", "buildinfo", "bulkWrite",
    "checkShardingIndex", "cleanupOrphaned", "cloneCollectionAsCapped", "clusterAbortTransaction", "clusterAggregate",
    "clusterCommitTransaction", "clusterCount", "clusterDelete", "clusterFind", "clusterGetMore", "clusterInsert",
    "clusterUpdate", "collMod", "collStats", "collmod", "collstats", "commitTransaction", "compact",
    "compactStructuredEncryptionData", "configureFailPoint", "connPoolStats", "connPoolSync", "connectionStatus",
    "convertToCapped", "coordinateCommitTransaction", "count", "create", "createIndexes", "createRole",
    "createSearchIndexes", "createUser", "currentOp", "dataSize", "datasize", "dbCheck", "dbHash", "dbStats", "dbhash",
    "dbstats", "delete", "distinct", "donorAbortMigration", "drop", "dropAllRolesFromDatabase",
    "dropAllUsersFromDatabase", "dropConnections", "dropDatabase", "dropIndexes", "dropRole", "dropSearchIndex",
    "dropUser", "endSessions", "explain", "exportCollection", "features", "filemd5", "find", "findAndModify",
    "findandmodify", "flushRouterConfig", "fsync", "fsyncUnlock", "getClusterParameter", "getCmdLineOpts",
    "getDefaultRWConcern", "getDiagnosticData", "getLog", "getMore", "getParameter", "getQueryableEncryptionCountInfo",
    "getShardMap", "getShardVersion", "grantPrivilegesToRole", "grantRolesToRole", "grantRolesToUser", "hello",
    "hostInfo", "importCollection", "insert", "internalRenameIfOptionsAndIndexesMatch", "invalidateUserCache",
    "isMaster", "ismaster", "killAllSessions", "killAllSessionsByPattern", "killCursors", "killOp", "killSessions",
    "listCollections", "listCommands", "listDatabases", "listDatabasesForAllTenants", "listIndexes",
    "listSearchIndexes", "lockInfo", "logApplicationMessage", "logMessage", "logRotate", "logout", "mapReduce",
    "mapreduce", "mergeChunks", "moveChunk", "oidcListKeys", "oidcRefreshKeys", "ping", "pinHistoryReplicated",
    "planCacheClear", "planCacheClearFilters", "planCacheListFilters", "planCacheSetFilter", "prepareTransaction",
    "profile", "reIndex", "recipientForgetMigration", "refreshSessions", "reapLogicalSessionCacheNow",
    "refreshLogicalSessionCacheNow", "renameCollection", "replSetAbortPrimaryCatchUp", "replSetFreeze",
    "replSetGetConfig", "replSetGetRBID", "replSetGetStatus", "replSetHeartbeat", "replSetInitiate",
    "replSetMaintenance", "replSetReconfig", "replSetRequestVotes", "replSetResizeOplog", "replSetStepDown",
    "replSetStepUp", "replSetSyncFrom", "replSetUpdatePosition", "revokePrivilegesFromRole", "revokeRolesFromRole",
    "revokeRolesFromUser", "rolesInfo", "rotateCertificates", "saslContinue", "saslStart", "serverStatus",
    "setAuditConfig", "setClusterParameter", "setDefaultRWConcern", "setFeatureCompatibilityVersion",
    "setIndexCommitQuorum", "setParameter", "setProfilingFilterGlobally", "setShardVersion", "setUserWriteBlockMode",
    "shardingState", "shutdown", "sleep", "splitChunk", "splitVector", "startRecordingTraffic", "startSession",
    "stopRecordingTraffic", "top", "update", "updateRole", "updateSearchIndex", "updateUser", "usersInfo", "validate",
    "validateDBMetadata", "voteCommitIndexBuild", "waitForFailPoint", "whatsmysni", "whatsmyuri",
];

/// Those of [`KNOWN`] that only the `admin` database takes, sorted.
#[rustfmt::skip] // several a line
const ADMIN: &[&str] = &[
    "abortTransaction", "bulkWrite", "commitTransaction", "configureFailPoint", "currentOp", "dropConnections",
    "flushRouterConfig", "fsync", "fsyncUnlock", "getClusterParameter", "getCmdLineOpts", "getDefaultRWConcern",
    "getDiagnosticData", "getLog", "getParameter", "getShardMap", "getShardVersion", "invalidateUserCache", "killOp",
    "listDatabases", "listDatabasesForAllTenants", "lockInfo", "logApplicationMessage", "logMessage", "logRotate",
    "moveChunk", "renameCollection", "replSetAbortPrimaryCatchUp", "replSetFreeze", "replSetGetConfig",
    "replSetGetRBID", "replSetGetStatus", "replSetHeartbeat", "replSetInitiate", "replSetMaintenance",
    "replSetReconfig", "replSetRequestVotes", "replSetResizeOplog", "replSetStepDown", "replSetStepUp",
    "replSetSyncFrom", "replSetUpdatePosition", "rotateCertificates", "setAuditConfig", "setClusterParameter",
    "setDefaultRWConcern", "setFeatureCompatibilityVersion", "setParameter", "setProfilingFilterGlobally",
    "setShardVersion", "setUserWriteBlockMode", "shardingState", "shutdown", "splitChunk", "top",
];

/// Commands that OP_QUERY may still carry since 5.1.
const BY_QUERY: &[&str] = &[
    "_isSelf",
    "authenticate",
    "buildInfo",
    "buildinfo",
    "hello",
    "isMaster",
    "ismaster",
    "saslContinue",
    "saslStart",
];

/// Whether a command exists.
pub(super) fn exists(name: &[u8]) -> bool {
    holds(KNOWN, name)
}

/// Whether only the `admin` database takes it.
pub(super) fn is_admin_only(name: &[u8]) -> bool {
    holds(ADMIN, name)
}

/// Whether OP_QUERY may carry it where that is limited.
pub(super) fn goes_by_query(name: &[u8]) -> bool {
    holds(BY_QUERY, name)
}

fn holds(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_admin_exists() {
        for name in ADMIN {
            assert!(exists(name.as_bytes()), "{name}");
        }
        assert!(!exists(b"foobar") && !exists(b"PING"));
    }
}
