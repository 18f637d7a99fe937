//! The command table: name, arity, the version that brought it, and the answer about a key that is
//! not there.
//!
//! Names, arities and versions are what `COMMAND` and `COMMAND DOCS` of 7.0.15 and 6.2.5 say, and
//! for newer ones the command reference; the answers are those of an empty 7.0.15 to the shortest
//! call, in which each `%` stands for the next argument. LIMIT: the modules that come with 8.0 are not
//! in it; Debian's package is built without them.

/// A version from which something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Era {
    /// 6.0, and all before it.
    V6_0,
    /// 6.2
    V6_2,
    /// 7.0: subcommands are commands, other quotes in error texts.
    V7_0,
    /// 7.2
    V7_2,
    /// 7.4
    V7_4,
    /// 8.0 and later.
    V8_0,
}

/// What a command answers about a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blank {
    /// `+OK`
    Ok,
    /// Another status.
    Simple(&'static str),
    /// A number.
    Int(i64),
    /// Null.
    Nil,
    /// An empty array.
    Empty,
    /// An empty set, in RESP2 an array.
    EmptySet,
    /// An empty map, in RESP2 an array.
    EmptyMap,
    /// A string.
    Bulk(&'static str),
    /// An error without its `-`.
    Error(&'static str),
    /// An iteration that ended at once.
    Scan,
    /// Cluster commands of an instance without cluster.
    NoCluster,
    /// The help of a container command.
    Help,
    /// Nothing: it waits.
    Silent,
    /// Code of its own answers.
    Own,
}

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Lower case; `config|get` for a subcommand.
    pub name: &'static str,
    /// Words in all when positive, at least as many when negative; as of the newest version.
    arity: i8,
    /// The first version that has it.
    pub since: Era,
    /// The answer about nothing.
    pub blank: Blank,
}

const fn command(name: &'static str, arity: i8, since: Era, blank: Blank) -> Command {
    Command { name, arity, since, blank }
}

/// Arities before the given version.
const OLD_ARITIES: &[(&str, Era, i8)] = &[
    ("expire", Era::V7_0, 3),
    ("expireat", Era::V7_0, 3),
    ("hello", Era::V6_2, -2),
    ("lpop", Era::V6_2, 2),
    ("pexpire", Era::V7_0, 3),
    ("pexpireat", Era::V7_0, 3),
    ("pfdebug", Era::V7_0, -3),
    ("psync", Era::V6_2, 3),
    ("rpop", Era::V6_2, 2),
    ("xsetid", Era::V7_0, 3),
    ("xtrim", Era::V6_2, -2),
    ("zrank", Era::V7_2, 3),
    ("zrevrank", Era::V7_2, 3),
];

/// Commands that a version took away.
const GONE: &[(&str, Era)] = &[("host:", Era::V7_0), ("post", Era::V7_0), ("stralgo", Era::V7_0)];

/// All commands, sorted by name.
#[rustfmt::skip]
static COMMANDS: &[Command] = &[
    command("acl", -2, Era::V6_0, Blank::Own),
    command("acl|cat", -2, Era::V6_0, Blank::Own),
    command("acl|deluser", -3, Era::V6_0, Blank::Int(0)),
    command("acl|dryrun", -4, Era::V7_0, Blank::Error("ERR User '%' not found")),
    command("acl|genpass", -2, Era::V6_0, Blank::Own),
    command("acl|getuser", 3, Era::V6_0, Blank::Nil),
    command("acl|help", 2, Era::V6_0, Blank::Help),
    command("acl|list", 2, Era::V6_0, Blank::Own),
    command("acl|load", 2, Era::V6_0, Blank::Error("ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.")),
    command("acl|log", -2, Era::V6_0, Blank::Empty),
    command("acl|save", 2, Era::V6_0, Blank::Error("ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.")),
    command("acl|setuser", -3, Era::V6_0, Blank::Ok),
    command("acl|users", 2, Era::V6_0, Blank::Own),
    command("acl|whoami", 2, Era::V6_0, Blank::Own),
    command("append", 3, Era::V6_0, Blank::Own),
    command("asking", 1, Era::V6_0, Blank::NoCluster),
    command("auth", -2, Era::V6_0, Blank::Own),
    command("bgrewriteaof", 1, Era::V6_0, Blank::Simple("Background append only file rewriting started")),
    command("bgsave", -1, Era::V6_0, Blank::Own),
    command("bitcount", -2, Era::V6_0, Blank::Int(0)),
    command("bitfield", -2, Era::V6_0, Blank::Empty),
    command("bitfield_ro", -2, Era::V6_0, Blank::Empty),
    command("bitop", -4, Era::V6_0, Blank::Error("ERR syntax error")),
    command("bitpos", -3, Era::V6_0, Blank::Int(-1)),
    command("blmove", 6, Era::V6_2, Blank::Error("ERR syntax error")),
    command("blmpop", -5, Era::V7_0, Blank::Error("ERR syntax error")),
    command("blpop", -3, Era::V6_0, Blank::Silent),
    command("brpop", -3, Era::V6_0, Blank::Silent),
    command("brpoplpush", 4, Era::V6_0, Blank::Silent),
    command("bzmpop", -5, Era::V7_0, Blank::Error("ERR syntax error")),
    command("bzpopmax", -3, Era::V6_0, Blank::Silent),
    command("bzpopmin", -3, Era::V6_0, Blank::Silent),
    command("client", -2, Era::V6_0, Blank::Own),
    command("client|caching", 3, Era::V6_0, Blank::Error("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")),
    command("client|getname", 2, Era::V6_0, Blank::Own),
    command("client|getredir", 2, Era::V6_0, Blank::Int(-1)),
    command("client|help", 2, Era::V6_0, Blank::Help),
    command("client|id", 2, Era::V6_0, Blank::Own),
    command("client|info", 2, Era::V6_2, Blank::Own),
    command("client|kill", -3, Era::V6_0, Blank::Own),
    command("client|list", -2, Era::V6_0, Blank::Own),
    command("client|no-evict", 3, Era::V7_0, Blank::Own),
    command("client|no-touch", 3, Era::V7_2, Blank::Own),
    command("client|pause", -3, Era::V6_0, Blank::Ok),
    command("client|reply", 3, Era::V6_0, Blank::Own),
    command("client|setinfo", 4, Era::V7_2, Blank::Own),
    command("client|setname", 3, Era::V6_0, Blank::Own),
    command("client|tracking", -3, Era::V6_0, Blank::Error("ERR syntax error")),
    command("client|trackinginfo", 2, Era::V6_2, Blank::EmptyMap),
    command("client|unblock", -3, Era::V6_0, Blank::Int(0)),
    command("client|unpause", 2, Era::V6_2, Blank::Ok),
    command("cluster", -2, Era::V6_0, Blank::NoCluster),
    command("cluster|addslots", -3, Era::V6_0, Blank::NoCluster),
    command("cluster|addslotsrange", -4, Era::V7_0, Blank::NoCluster),
    command("cluster|bumpepoch", 2, Era::V6_0, Blank::NoCluster),
    command("cluster|count-failure-reports", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|countkeysinslot", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|delslots", -3, Era::V6_0, Blank::NoCluster),
    command("cluster|delslotsrange", -4, Era::V7_0, Blank::NoCluster),
    command("cluster|failover", -2, Era::V6_0, Blank::NoCluster),
    command("cluster|flushslots", 2, Era::V6_0, Blank::NoCluster),
    command("cluster|forget", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|getkeysinslot", 4, Era::V6_0, Blank::NoCluster),
    command("cluster|help", 2, Era::V6_0, Blank::NoCluster),
    command("cluster|info", 2, Era::V6_0, Blank::NoCluster),
    command("cluster|keyslot", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|links", 2, Era::V7_0, Blank::NoCluster),
    command("cluster|meet", -4, Era::V6_0, Blank::NoCluster),
    command("cluster|myid", 2, Era::V6_0, Blank::NoCluster),
    command("cluster|myshardid", 2, Era::V7_2, Blank::NoCluster),
    command("cluster|nodes", 2, Era::V6_0, Blank::NoCluster),
    command("cluster|replicas", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|replicate", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|reset", -2, Era::V6_0, Blank::NoCluster),
    command("cluster|saveconfig", 2, Era::V6_0, Blank::NoCluster),
    command("cluster|set-config-epoch", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|setslot", -4, Era::V6_0, Blank::NoCluster),
    command("cluster|shards", 2, Era::V7_0, Blank::NoCluster),
    command("cluster|slaves", 3, Era::V6_0, Blank::NoCluster),
    command("cluster|slots", 2, Era::V6_0, Blank::NoCluster),
    command("command", -1, Era::V6_0, Blank::Own),
    command("command|count", 2, Era::V6_0, Blank::Own),
    command("command|docs", -2, Era::V7_0, Blank::Own),
    command("command|getkeys", -4, Era::V6_0, Blank::Error("ERR Invalid command specified")),
    command("command|getkeysandflags", -4, Era::V7_0, Blank::Error("ERR Invalid command specified")),
    command("command|help", 2, Era::V6_0, Blank::Help),
    command("command|info", -2, Era::V6_0, Blank::Own),
    command("command|list", -2, Era::V7_0, Blank::Own),
    command("config", -2, Era::V6_0, Blank::Own),
    command("config|get", -3, Era::V6_0, Blank::Own),
    command("config|help", 2, Era::V6_0, Blank::Help),
    command("config|resetstat", 2, Era::V6_0, Blank::Ok),
    command("config|rewrite", 2, Era::V6_0, Blank::Error("ERR The server is running without a config file")),
    command("config|set", -4, Era::V6_0, Blank::Own),
    command("copy", -3, Era::V6_2, Blank::Error("ERR source and destination objects are the same")),
    command("dbsize", 1, Era::V6_0, Blank::Own),
    command("debug", -2, Era::V6_0, Blank::Own),
    command("decr", 2, Era::V6_0, Blank::Own),
    command("decrby", 3, Era::V6_0, Blank::Own),
    command("del", -2, Era::V6_0, Blank::Own),
    command("discard", 1, Era::V6_0, Blank::Own),
    command("dump", 2, Era::V6_0, Blank::Nil),
    command("echo", 2, Era::V6_0, Blank::Own),
    command("eval", -3, Era::V6_0, Blank::Own),
    command("eval_ro", -3, Era::V7_0, Blank::Own),
    command("evalsha", -3, Era::V6_0, Blank::Error("NOSCRIPT No matching script. Please use EVAL.")),
    command("evalsha_ro", -3, Era::V7_0, Blank::Error("NOSCRIPT No matching script. Please use EVAL.")),
    command("exec", 1, Era::V6_0, Blank::Own),
    command("exists", -2, Era::V6_0, Blank::Own),
    command("expire", -3, Era::V6_0, Blank::Own),
    command("expireat", -3, Era::V6_0, Blank::Own),
    command("expiretime", 2, Era::V7_0, Blank::Int(-2)),
    command("failover", -1, Era::V6_2, Blank::Error("ERR FAILOVER requires connected replicas.")),
    command("fcall", -3, Era::V7_0, Blank::Error("ERR Function not found")),
    command("fcall_ro", -3, Era::V7_0, Blank::Error("ERR Function not found")),
    command("flushall", -1, Era::V6_0, Blank::Own),
    command("flushdb", -1, Era::V6_0, Blank::Own),
    command("function", -2, Era::V7_0, Blank::Own),
    command("function|delete", 3, Era::V7_0, Blank::Error("ERR Library not found")),
    command("function|dump", 2, Era::V7_0, Blank::Bulk("")),
    command("function|flush", -2, Era::V7_0, Blank::Ok),
    command("function|help", 2, Era::V7_0, Blank::Help),
    command("function|kill", 2, Era::V7_0, Blank::Error("NOTBUSY No scripts in execution right now.")),
    command("function|list", -2, Era::V7_0, Blank::Empty),
    command("function|load", -3, Era::V7_0, Blank::Error("ERR Missing library metadata")),
    command("function|restore", -3, Era::V7_0, Blank::Error("ERR DUMP payload version or checksum are wrong")),
    command("function|stats", 2, Era::V7_0, Blank::EmptyMap),
    command("geoadd", -5, Era::V6_0, Blank::Int(1)),
    command("geodist", -4, Era::V6_0, Blank::Nil),
    command("geohash", -2, Era::V6_0, Blank::Empty),
    command("geopos", -2, Era::V6_0, Blank::Empty),
    command("georadius", -6, Era::V6_0, Blank::Error("ERR unsupported unit provided. please use M, KM, FT, MI")),
    command("georadius_ro", -6, Era::V6_0, Blank::Error("ERR unsupported unit provided. please use M, KM, FT, MI")),
    command("georadiusbymember", -5, Era::V6_0, Blank::Empty),
    command("georadiusbymember_ro", -5, Era::V6_0, Blank::Empty),
    command("geosearch", -7, Era::V6_2, Blank::Error("ERR syntax error")),
    command("geosearchstore", -8, Era::V6_2, Blank::Error("ERR syntax error")),
    command("get", 2, Era::V6_0, Blank::Own),
    command("getbit", 3, Era::V6_0, Blank::Int(0)),
    command("getdel", 2, Era::V6_2, Blank::Own),
    command("getex", -2, Era::V6_2, Blank::Own),
    command("getrange", 4, Era::V6_0, Blank::Own),
    command("getset", 3, Era::V6_0, Blank::Own),
    command("hdel", -3, Era::V6_0, Blank::Int(0)),
    command("hello", -1, Era::V6_0, Blank::Own),
    command("hexists", 3, Era::V6_0, Blank::Int(0)),
    command("hexpire", -6, Era::V7_4, Blank::Empty),
    command("hexpireat", -6, Era::V7_4, Blank::Empty),
    command("hexpiretime", -5, Era::V7_4, Blank::Empty),
    command("hget", 3, Era::V6_0, Blank::Nil),
    command("hgetall", 2, Era::V6_0, Blank::EmptyMap),
    command("hgetdel", -5, Era::V8_0, Blank::Empty),
    command("hgetex", -5, Era::V8_0, Blank::Empty),
    command("hincrby", 4, Era::V6_0, Blank::Int(1)),
    command("hincrbyfloat", 4, Era::V6_0, Blank::Bulk("1")),
    command("hkeys", 2, Era::V6_0, Blank::Empty),
    command("hlen", 2, Era::V6_0, Blank::Int(0)),
    command("hmget", -3, Era::V6_0, Blank::Own),
    command("hmset", -4, Era::V6_0, Blank::Ok),
    command("host:", -1, Era::V6_0, Blank::Own),
    command("hpersist", -5, Era::V7_4, Blank::Empty),
    command("hpexpire", -6, Era::V7_4, Blank::Empty),
    command("hpexpireat", -6, Era::V7_4, Blank::Empty),
    command("hpexpiretime", -5, Era::V7_4, Blank::Empty),
    command("hpttl", -5, Era::V7_4, Blank::Empty),
    command("hrandfield", -2, Era::V6_2, Blank::Nil),
    command("hscan", -3, Era::V6_0, Blank::Scan),
    command("hset", -4, Era::V6_0, Blank::Int(1)),
    command("hsetex", -6, Era::V8_0, Blank::Empty),
    command("hsetnx", 4, Era::V6_0, Blank::Int(1)),
    command("hstrlen", 3, Era::V6_0, Blank::Int(0)),
    command("httl", -5, Era::V7_4, Blank::Empty),
    command("hvals", 2, Era::V6_0, Blank::Empty),
    command("incr", 2, Era::V6_0, Blank::Own),
    command("incrby", 3, Era::V6_0, Blank::Own),
    command("incrbyfloat", 3, Era::V6_0, Blank::Bulk("1")),
    command("info", -1, Era::V6_0, Blank::Own),
    command("keys", 2, Era::V6_0, Blank::Own),
    command("lastsave", 1, Era::V6_0, Blank::Own),
    command("latency", -2, Era::V6_0, Blank::Own),
    command("latency|doctor", 2, Era::V6_0, Blank::Bulk("I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n")),
    command("latency|graph", 3, Era::V6_0, Blank::Error("ERR No samples available for event '%'")),
    command("latency|help", 2, Era::V6_0, Blank::Help),
    command("latency|histogram", -2, Era::V7_0, Blank::EmptyMap),
    command("latency|history", 3, Era::V6_0, Blank::Empty),
    command("latency|latest", 2, Era::V6_0, Blank::Empty),
    command("latency|reset", -2, Era::V6_0, Blank::Int(0)),
    command("lcs", -3, Era::V7_0, Blank::Bulk("")),
    command("lindex", 3, Era::V6_0, Blank::Nil),
    command("linsert", 5, Era::V6_0, Blank::Error("ERR syntax error")),
    command("llen", 2, Era::V6_0, Blank::Int(0)),
    command("lmove", 5, Era::V6_2, Blank::Error("ERR syntax error")),
    command("lmpop", -4, Era::V7_0, Blank::Error("ERR syntax error")),
    command("lolwut", -1, Era::V6_0, Blank::Own),
    command("lpop", -2, Era::V6_0, Blank::Nil),
    command("lpos", -3, Era::V6_0, Blank::Nil),
    command("lpush", -3, Era::V6_0, Blank::Int(1)),
    command("lpushx", -3, Era::V6_0, Blank::Int(0)),
    command("lrange", 4, Era::V6_0, Blank::Empty),
    command("lrem", 4, Era::V6_0, Blank::Int(0)),
    command("lset", 4, Era::V6_0, Blank::Error("ERR no such key")),
    command("ltrim", 4, Era::V6_0, Blank::Ok),
    command("memory", -2, Era::V6_0, Blank::Own),
    command("memory|doctor", 2, Era::V6_0, Blank::Bulk("Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be back to our programming as soon as I finished rebooting.\n")),
    command("memory|help", 2, Era::V6_0, Blank::Help),
    command("memory|malloc-stats", 2, Era::V6_0, Blank::Bulk("")),
    command("memory|purge", 2, Era::V6_0, Blank::Ok),
    command("memory|stats", 2, Era::V6_0, Blank::EmptyMap),
    command("memory|usage", -3, Era::V6_0, Blank::Nil),
    command("mget", -2, Era::V6_0, Blank::Own),
    command("migrate", -6, Era::V6_0, Blank::Simple("NOKEY")),
    command("module", -2, Era::V6_0, Blank::Own),
    command("module|help", 2, Era::V6_0, Blank::Help),
    command("module|list", 2, Era::V6_0, Blank::Own),
    command("module|load", -3, Era::V6_0, Blank::Own),
    command("module|loadex", -3, Era::V7_0, Blank::Own),
    command("module|unload", 3, Era::V6_0, Blank::Own),
    command("monitor", 1, Era::V6_0, Blank::Own),
    command("move", 3, Era::V6_0, Blank::Int(0)),
    command("mset", -3, Era::V6_0, Blank::Own),
    command("msetnx", -3, Era::V6_0, Blank::Int(1)),
    command("multi", 1, Era::V6_0, Blank::Own),
    command("object", -2, Era::V6_0, Blank::Own),
    command("object|encoding", 3, Era::V6_0, Blank::Own),
    command("object|freq", 3, Era::V6_0, Blank::Nil),
    command("object|help", 2, Era::V6_2, Blank::Own),
    command("object|idletime", 3, Era::V6_0, Blank::Nil),
    command("object|refcount", 3, Era::V6_0, Blank::Nil),
    command("persist", 2, Era::V6_0, Blank::Own),
    command("pexpire", -3, Era::V6_0, Blank::Own),
    command("pexpireat", -3, Era::V6_0, Blank::Own),
    command("pexpiretime", 2, Era::V7_0, Blank::Int(-2)),
    command("pfadd", -2, Era::V6_0, Blank::Int(1)),
    command("pfcount", -2, Era::V6_0, Blank::Int(0)),
    command("pfdebug", 3, Era::V6_0, Blank::Error("ERR The specified key does not exist")),
    command("pfmerge", -2, Era::V6_0, Blank::Ok),
    command("pfselftest", 1, Era::V6_0, Blank::Ok),
    command("ping", -1, Era::V6_0, Blank::Own),
    command("post", -1, Era::V6_0, Blank::Own),
    command("psetex", 4, Era::V6_0, Blank::Own),
    command("psubscribe", -2, Era::V6_0, Blank::Own),
    command("psync", -3, Era::V6_0, Blank::Own),
    command("pttl", 2, Era::V6_0, Blank::Own),
    command("publish", 3, Era::V6_0, Blank::Int(0)),
    command("pubsub", -2, Era::V6_0, Blank::Own),
    command("pubsub|channels", -2, Era::V6_0, Blank::Empty),
    command("pubsub|help", 2, Era::V6_2, Blank::Help),
    command("pubsub|numpat", 2, Era::V6_0, Blank::Int(0)),
    command("pubsub|numsub", -2, Era::V6_0, Blank::Empty),
    command("pubsub|shardchannels", -2, Era::V7_0, Blank::Empty),
    command("pubsub|shardnumsub", -2, Era::V7_0, Blank::Empty),
    command("punsubscribe", -1, Era::V6_0, Blank::Own),
    command("quit", -1, Era::V7_0, Blank::Own),
    command("randomkey", 1, Era::V6_0, Blank::Own),
    command("readonly", 1, Era::V6_0, Blank::NoCluster),
    command("readwrite", 1, Era::V6_0, Blank::NoCluster),
    command("rename", 3, Era::V6_0, Blank::Own),
    command("renamenx", 3, Era::V6_0, Blank::Error("ERR no such key")),
    command("replconf", -1, Era::V6_0, Blank::Ok),
    command("replicaof", 3, Era::V6_0, Blank::Own),
    command("reset", 1, Era::V6_2, Blank::Own),
    command("restore", -4, Era::V6_0, Blank::Error("ERR DUMP payload version or checksum are wrong")),
    command("restore-asking", -4, Era::V6_0, Blank::Error("ERR DUMP payload version or checksum are wrong")),
    command("role", 1, Era::V6_0, Blank::Own),
    command("rpop", -2, Era::V6_0, Blank::Nil),
    command("rpoplpush", 3, Era::V6_0, Blank::Nil),
    command("rpush", -3, Era::V6_0, Blank::Int(1)),
    command("rpushx", -3, Era::V6_0, Blank::Int(0)),
    command("sadd", -3, Era::V6_0, Blank::Int(1)),
    command("save", 1, Era::V6_0, Blank::Own),
    command("scan", -2, Era::V6_0, Blank::Own),
    command("scard", 2, Era::V6_0, Blank::Int(0)),
    command("script", -2, Era::V6_0, Blank::Own),
    command("script|debug", 3, Era::V6_0, Blank::Error("ERR SCRIPT DEBUG must be called outside a pipeline")),
    command("script|exists", -3, Era::V6_0, Blank::Own),
    command("script|flush", -2, Era::V6_0, Blank::Ok),
    command("script|help", 2, Era::V6_0, Blank::Help),
    command("script|kill", 2, Era::V6_0, Blank::Error("NOTBUSY No scripts in execution right now.")),
    command("script|load", 3, Era::V6_0, Blank::Own),
    command("sdiff", -2, Era::V6_0, Blank::EmptySet),
    command("sdiffstore", -3, Era::V6_0, Blank::Int(0)),
    command("select", 2, Era::V6_0, Blank::Own),
    command("set", -3, Era::V6_0, Blank::Own),
    command("setbit", 4, Era::V6_0, Blank::Int(0)),
    command("setex", 4, Era::V6_0, Blank::Own),
    command("setnx", 3, Era::V6_0, Blank::Own),
    command("setrange", 4, Era::V6_0, Blank::Int(2)),
    command("shutdown", -1, Era::V6_0, Blank::Own),
    command("sinter", -2, Era::V6_0, Blank::EmptySet),
    command("sintercard", -3, Era::V7_0, Blank::Int(0)),
    command("sinterstore", -3, Era::V6_0, Blank::Int(0)),
    command("sismember", 3, Era::V6_0, Blank::Int(0)),
    command("slaveof", 3, Era::V6_0, Blank::Own),
    command("slowlog", -2, Era::V6_0, Blank::Own),
    command("slowlog|get", -2, Era::V6_0, Blank::Empty),
    command("slowlog|help", 2, Era::V6_2, Blank::Help),
    command("slowlog|len", 2, Era::V6_0, Blank::Int(0)),
    command("slowlog|reset", 2, Era::V6_0, Blank::Ok),
    command("smembers", 2, Era::V6_0, Blank::EmptySet),
    command("smismember", -3, Era::V6_2, Blank::Own),
    command("smove", 4, Era::V6_0, Blank::Int(0)),
    command("sort", -2, Era::V6_0, Blank::Empty),
    command("sort_ro", -2, Era::V7_0, Blank::Empty),
    command("spop", -2, Era::V6_0, Blank::Nil),
    command("spublish", 3, Era::V7_0, Blank::Int(0)),
    command("srandmember", -2, Era::V6_0, Blank::Nil),
    command("srem", -3, Era::V6_0, Blank::Int(0)),
    command("sscan", -3, Era::V6_0, Blank::Scan),
    command("ssubscribe", -2, Era::V7_0, Blank::Own),
    command("stralgo", -2, Era::V6_0, Blank::Error("ERR syntax error")),
    command("strlen", 2, Era::V6_0, Blank::Own),
    command("subscribe", -2, Era::V6_0, Blank::Own),
    command("substr", 4, Era::V6_0, Blank::Own),
    command("sunion", -2, Era::V6_0, Blank::EmptySet),
    command("sunionstore", -3, Era::V6_0, Blank::Int(0)),
    command("sunsubscribe", -1, Era::V7_0, Blank::Own),
    command("swapdb", 3, Era::V6_0, Blank::Ok),
    command("sync", 1, Era::V6_0, Blank::Own),
    command("time", 1, Era::V6_0, Blank::Own),
    command("touch", -2, Era::V6_0, Blank::Own),
    command("ttl", 2, Era::V6_0, Blank::Own),
    command("type", 2, Era::V6_0, Blank::Own),
    command("unlink", -2, Era::V6_0, Blank::Own),
    command("unsubscribe", -1, Era::V6_0, Blank::Own),
    command("unwatch", 1, Era::V6_0, Blank::Own),
    command("wait", 3, Era::V6_0, Blank::Int(0)),
    command("waitaof", 4, Era::V7_2, Blank::Int(0)),
    command("watch", -2, Era::V6_0, Blank::Own),
    command("xack", -4, Era::V6_0, Blank::Int(0)),
    command("xadd", -5, Era::V6_0, Blank::Bulk("1-0")),
    command("xautoclaim", -6, Era::V6_2, Blank::Error("NOGROUP No such key '%' or consumer group '%'")),
    command("xclaim", -6, Era::V6_0, Blank::Error("NOGROUP No such key '%' or consumer group '%'")),
    command("xdel", -3, Era::V6_0, Blank::Int(0)),
    command("xgroup", -2, Era::V6_0, Blank::Own),
    command("xgroup|create", -5, Era::V6_0, Blank::Error("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.")),
    command("xgroup|createconsumer", 5, Era::V6_2, Blank::Error("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.")),
    command("xgroup|delconsumer", 5, Era::V6_0, Blank::Error("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.")),
    command("xgroup|destroy", 4, Era::V6_0, Blank::Error("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.")),
    command("xgroup|help", 2, Era::V6_0, Blank::Help),
    command("xgroup|setid", -5, Era::V6_0, Blank::Error("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.")),
    command("xinfo", -2, Era::V6_0, Blank::Own),
    command("xinfo|consumers", 4, Era::V6_0, Blank::Error("ERR no such key")),
    command("xinfo|groups", 3, Era::V6_0, Blank::Error("ERR no such key")),
    command("xinfo|help", 2, Era::V6_0, Blank::Help),
    command("xinfo|stream", -3, Era::V6_0, Blank::Error("ERR no such key")),
    command("xlen", 2, Era::V6_0, Blank::Int(0)),
    command("xpending", -3, Era::V6_0, Blank::Error("NOGROUP No such key '%' or consumer group '%'")),
    command("xrange", -4, Era::V6_0, Blank::Empty),
    command("xread", -4, Era::V6_0, Blank::Error("ERR syntax error")),
    command("xreadgroup", -7, Era::V6_0, Blank::Error("ERR syntax error")),
    command("xrevrange", -4, Era::V6_0, Blank::Empty),
    command("xsetid", -3, Era::V6_0, Blank::Error("ERR no such key")),
    command("xtrim", -4, Era::V6_0, Blank::Error("ERR syntax error")),
    command("zadd", -4, Era::V6_0, Blank::Int(1)),
    command("zcard", 2, Era::V6_0, Blank::Int(0)),
    command("zcount", 4, Era::V6_0, Blank::Int(0)),
    command("zdiff", -3, Era::V6_2, Blank::Empty),
    command("zdiffstore", -4, Era::V6_2, Blank::Int(0)),
    command("zincrby", 4, Era::V6_0, Blank::Bulk("1")),
    command("zinter", -3, Era::V6_2, Blank::Empty),
    command("zintercard", -3, Era::V7_0, Blank::Int(0)),
    command("zinterstore", -4, Era::V6_0, Blank::Int(0)),
    command("zlexcount", 4, Era::V6_0, Blank::Error("ERR min or max not valid string range item")),
    command("zmpop", -4, Era::V7_0, Blank::Error("ERR syntax error")),
    command("zmscore", -3, Era::V6_2, Blank::Own),
    command("zpopmax", -2, Era::V6_0, Blank::Empty),
    command("zpopmin", -2, Era::V6_0, Blank::Empty),
    command("zrandmember", -2, Era::V6_2, Blank::Nil),
    command("zrange", -4, Era::V6_0, Blank::Empty),
    command("zrangebylex", -4, Era::V6_0, Blank::Error("ERR min or max not valid string range item")),
    command("zrangebyscore", -4, Era::V6_0, Blank::Empty),
    command("zrangestore", -5, Era::V6_2, Blank::Int(0)),
    command("zrank", 3, Era::V6_0, Blank::Nil),
    command("zrem", -3, Era::V6_0, Blank::Int(0)),
    command("zremrangebylex", 4, Era::V6_0, Blank::Error("ERR min or max not valid string range item")),
    command("zremrangebyrank", 4, Era::V6_0, Blank::Int(0)),
    command("zremrangebyscore", 4, Era::V6_0, Blank::Int(0)),
    command("zrevrange", -4, Era::V6_0, Blank::Empty),
    command("zrevrangebylex", -4, Era::V6_0, Blank::Error("ERR min or max not valid string range item")),
    command("zrevrangebyscore", -4, Era::V6_0, Blank::Empty),
    command("zrevrank", 3, Era::V6_0, Blank::Nil),
    command("zscan", -3, Era::V6_0, Blank::Scan),
    command("zscore", 3, Era::V6_0, Blank::Nil),
    command("zunion", -3, Era::V6_2, Blank::Empty),
    command("zunionstore", -4, Era::V6_0, Blank::Int(0)),
];

impl Command {
    /// The command of that name, in any case of letters.
    pub(super) fn find(name: &[u8], era: Era) -> Option<&'static Self> {
        if name.contains(&b'|') { None } else { Self::entry(name, era) }
    }

    fn entry(name: &[u8], era: Era) -> Option<&'static Self> {
        let at = COMMANDS
            .binary_search_by(|command| command.name.bytes().cmp(name.iter().map(u8::to_ascii_lowercase)))
            .ok()?;
        let command = COMMANDS.get(at)?;
        let gone = GONE.iter().any(|(name, since)| *name == command.name && era >= *since);
        (command.since <= era && !gone).then_some(command)
    }

    /// The subcommand of a command.
    pub(super) fn find_sub(container: &[u8], sub: &[u8], era: Era) -> Option<&'static Self> {
        // A word that is long, or holds the sign between the two, names no command.
        if container.len().saturating_add(sub.len()) > 64 || sub.contains(&b'|') || container.contains(&b'|') {
            return None;
        }
        Self::entry(&[container, b"|", sub].concat(), era)
    }

    /// Whether it has subcommands.
    pub(super) fn is_container(&self) -> bool {
        let length = self.name.len();
        let at = COMMANDS.partition_point(|command| command.name <= self.name);
        let rest = COMMANDS.get(at..).unwrap_or_default();
        rest.iter()
            .take(8)
            .any(|next| next.name.starts_with(self.name) && next.name.as_bytes().get(length) == Some(&b'|'))
    }

    /// Whether so many words may be sent to it, its own included.
    pub(super) fn takes(&self, words: usize, era: Era) -> bool {
        let old = OLD_ARITIES.iter().find(|(name, before, _)| *name == self.name && era < *before);
        let arity = old.map_or(self.arity, |(_, _, arity)| *arity);
        let least = usize::from(arity.unsigned_abs());
        if arity < 0 { words >= least } else { words == least }
    }

    /// Whether it may be sent before a login.
    pub(super) fn without_login(&self, era: Era) -> bool {
        matches!(self.name, "auth" | "hello" | "quit") || (self.name == "reset" && era >= Era::V7_0)
    }

    /// Commands of a version that are no subcommands.
    pub(super) fn all(era: Era) -> impl Iterator<Item = &'static Self> {
        COMMANDS
            .iter()
            .filter(move |command| !command.name.contains('|') && Self::find(command.name.as_bytes(), era).is_some())
    }

    /// The arity that `COMMAND` tells.
    pub(super) fn arity(&self, era: Era) -> i64 {
        let old = OLD_ARITIES.iter().find(|(name, before, _)| *name == self.name && era < *before);
        i64::from(old.map_or(self.arity, |(_, _, arity)| *arity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sorted() {
        assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn counts_as_the_real_servers_do() {
        // 6.2 lists `host:` and `post` and not `quit`.
        assert_eq!(Command::all(Era::V7_0).count(), 240);
        assert_eq!(Command::all(Era::V6_2).count(), 224);
    }

    #[test]
    fn finds_in_any_case_and_only_what_a_version_has() {
        assert_eq!(Command::find(b"CoNfIg", Era::V7_0).unwrap().name, "config");
        assert!(Command::find(b"lmove", Era::V6_0).is_none() && Command::find(b"LMOVE", Era::V6_2).is_some());
        assert!(Command::find(b"stralgo", Era::V7_0).is_none() && Command::find(b"stralgo", Era::V6_2).is_some());
        assert!(Command::find_sub(b"client", b"SETINFO", Era::V7_0).is_none());
        assert!(Command::find_sub(b"client", b"SETINFO", Era::V7_2).is_some());
        assert!(Command::find_sub(b"config|", b"get", Era::V7_0).is_none());
    }

    #[test]
    fn knows_arities_of_each_version() {
        let takes = |name: &str, words, era| Command::find(name.as_bytes(), era).unwrap().takes(words, era);
        assert!(takes("get", 2, Era::V7_0) && !takes("get", 3, Era::V7_0) && !takes("get", 1, Era::V7_0));
        assert!(!takes("hello", 1, Era::V6_0) && takes("hello", 1, Era::V6_2));
        assert!(!takes("lpop", 3, Era::V6_0) && takes("lpop", 3, Era::V6_2));
        assert!(takes("set", 9, Era::V8_0));
    }

    #[test]
    fn knows_containers() {
        let container = |name: &str| Command::find(name.as_bytes(), Era::V7_0).unwrap().is_container();
        assert!(container("config") && container("acl") && container("cluster") && container("command"));
        assert!(!container("get") && !container("debug"));
    }
}
