//! The instance that a planted login gets into: a server with its own databases, nothing in them, and no
//! rights. Nothing is run; what asks for more is refused in the product's words.

use super::Config;
use super::statement::{self, Expression, Shown, Word};
use super::tokens::{Cell, Message, Tokens, environment};

/// Databases that every server has, in the order of their numbers.
const DATABASES: [&str; 4] = ["master", "tempdb", "model", "msdb"];

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) user: String,
    pub(super) host: String,
    pub(super) app: String,
    pub(super) database: String,
    pub(super) spid: u16,
    /// Variables of the batch that runs, with their `@`.
    pub(super) variables: Vec<(String, Cell)>,
}

/// Whether there is such a database; its name as the server writes it.
pub(super) fn database(name: &str) -> Option<&'static str> {
    DATABASES.iter().find(|known| known.eq_ignore_ascii_case(name)).copied()
}

/// What a login answers when it is let in, as far as tokens go.
pub(super) fn welcome(config: &Config, visitor: &Visitor, tds: u32, tokens: &mut Tokens<'_>) {
    tokens.environment(environment::DATABASE, &visitor.database, "master");
    tokens.info(&changed_database(&visitor.database));
    tokens.collation();
    tokens.environment(environment::LANGUAGE, "us_english", "");
    tokens.info(&Message::new(5703, 1, 0, "Changed language setting to us_english."));
    tokens.acknowledge(tds, config.version);
    tokens.environment(environment::PACKET_SIZE, "4096", "4096");
    tokens.done(false, None, false);
}

/// Answers a batch, statement by statement.
pub(super) fn run(config: &Config, visitor: &mut Visitor, batch: &str, tokens: &mut Tokens<'_>) {
    let statements = statement::statements(batch);
    for (n, words) in statements.iter().enumerate() {
        let more = n.saturating_add(1) < statements.len();
        match answer(config, visitor, words) {
            Answer::Nothing => tokens.done(false, None, more),
            Answer::Failure(message) => tokens.error(&message).done(true, None, more),
            Answer::Database(new) => {
                let old = std::mem::replace(&mut visitor.database, new.to_owned());
                tokens.environment(environment::DATABASE, new, &old).info(&changed_database(new));
                tokens.done(false, None, more)
            }
            Answer::Rows(columns, rows) => {
                tokens.columns(&columns);
                for row in &rows {
                    tokens.row(row);
                }
                tokens.done(false, u32::try_from(rows.len()).ok(), more)
            }
        };
    }
    if statements.is_empty() {
        tokens.done(false, None, false);
    }
}

fn changed_database(name: &str) -> Message {
    Message::new(5701, 2, 0, format!("Changed database context to '{name}'."))
}

enum Answer {
    Nothing,
    Failure(Message),
    Database(&'static str),
    Rows(Vec<(String, Cell)>, Vec<Vec<Cell>>),
}

fn failure(number: u32, state: u8, class: u8, text: impl Into<String>) -> Answer {
    Answer::Failure(Message::new(number, state, class, text))
}

fn answer(config: &Config, visitor: &Visitor, words: &[Word]) -> Answer {
    let Some(first) = words.first() else { return Answer::Nothing };
    let Word::Name(keyword) = first else { return syntax(first) };
    match keyword.to_ascii_lowercase().as_str() {
        "select" => select(config, visitor, words),
        "use" => match words.get(1).map(Word::shown) {
            Some(name) => match database(&name) {
                Some(known) => Answer::Database(known),
                None => failure(
                    911,
                    1,
                    16,
                    format!("Database '{name}' does not exist. Make sure that the name is entered correctly."),
                ),
            },
            None => syntax(first),
        },
        "exec" | "execute" => match words.get(1) {
            Some(Word::Name(name)) => procedure(name, words.len() > 2),
            Some(word) => syntax(word),
            None => syntax(first),
        },
        "reconfigure" => failure(5812, 1, 14, "You do not have permission to run the RECONFIGURE statement."),
        "create" => {
            let what = words.get(1).map_or_else(String::new, |word| word.shown().to_uppercase());
            let place = &visitor.database;
            failure(262, 1, 14, format!("CREATE {what} permission denied in database '{place}'."))
        }
        "insert" | "update" | "delete" | "truncate" => {
            let table = words.iter().skip(1).find(|word| !(word.is("into") || word.is("from") || word.is("table")));
            table.map_or_else(|| syntax(first), |table| no_object(&table.shown()))
        }
        "drop" | "alter" | "backup" | "restore" | "grant" | "deny" | "revoke" | "shutdown" | "kill" | "dbcc" => {
            failure(15247, 1, 16, "User does not have permission to perform this action.")
        }
        "set" | "declare" | "begin" | "commit" | "rollback" | "save" | "if" | "while" | "print" | "waitfor" | "go" => {
            Answer::Nothing
        }
        // A procedure may be named alone where it comes first.
        _ if words.len() == 1 || !matches!(words.get(1), Some(Word::Sign(_))) => procedure(keyword, words.len() > 1),
        _ => syntax(first),
    }
}

fn syntax(near: &Word) -> Answer {
    failure(102, 1, 15, format!("Incorrect syntax near '{}'.", near.shown()))
}

fn no_object(name: &str) -> Answer {
    failure(208, 1, 16, format!("Invalid object name '{name}'."))
}

fn procedure(name: &str, has_arguments: bool) -> Answer {
    let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    match last.as_str() {
        // What everybody may run, with nothing to show.
        "xp_dirtree" | "xp_fileexist" => Answer::Rows(vec![("subdirectory".to_owned(), Cell::Null)], Vec::new()),
        "sp_configure" if has_arguments => {
            failure(15247, 1, 16, "User does not have permission to perform this action.")
        }
        "sp_configure" | "sp_executesql" | "sp_reset_connection" => Answer::Nothing,
        _ if last.starts_with("xp_") || last.starts_with("sp_oa") => failure(
            229,
            5,
            14,
            format!(
                "The EXECUTE permission was denied on the object '{last}', database 'mssqlsystemresource', schema 'sys'."
            ),
        ),
        _ => failure(2812, 62, 16, format!("Could not find stored procedure '{name}'.")),
    }
}

fn select(config: &Config, visitor: &Visitor, words: &[Word]) -> Answer {
    let Some((shown, table)) = statement::select(words) else {
        return syntax(words.last().unwrap_or(&Word::Sign(' ')));
    };
    match table {
        None => match shown.iter().map(|one| evaluate(config, visitor, &one.expression)).collect() {
            Ok(cells) => one_row(&shown, cells),
            Err(message) => Answer::Failure(message),
        },
        Some(table) => {
            let name = table.rsplit('.').next().unwrap_or(&table).to_ascii_lowercase();
            if matches!(name.as_str(), "databases" | "sysdatabases") { databases(&shown) } else { no_object(&table) }
        }
    }
}

fn one_row(shown: &[Shown], cells: Vec<Cell>) -> Answer {
    let columns = shown.iter().zip(&cells).map(|(one, cell)| (one.name.clone(), cell.clone())).collect();
    Answer::Rows(columns, vec![cells])
}

fn databases(shown: &[Shown]) -> Answer {
    let mut columns: Vec<(String, &str)> = Vec::new();
    for one in shown {
        let title = |own: &str| if one.name.is_empty() { own.to_owned() } else { one.name.clone() };
        match &one.expression {
            Expression::All => {
                columns.extend([("name".to_owned(), "name"), ("database_id".to_owned(), "database_id")]);
            }
            Expression::Name(name) => match name.rsplit('.').next().unwrap_or(name) {
                "name" => columns.push((title("name"), "name")),
                id @ ("database_id" | "dbid") => columns.push((title(id), "database_id")),
                other => return failure(207, 1, 16, format!("Invalid column name '{other}'.")),
            },
            Expression::Call(name, _) if name == "count" => {
                let count = i32::try_from(DATABASES.len()).unwrap_or(0);
                return one_row(shown, vec![Cell::Int(count)]);
            }
            _ => columns.push((one.name.clone(), "name")),
        }
    }
    let cell = |kind: &str, n: usize, name: &str| match kind {
        "name" => Cell::Text(name.to_owned()),
        _ => Cell::Int(i32::try_from(n).unwrap_or(0).saturating_add(1)),
    };
    let rows = DATABASES.iter().enumerate();
    let rows = rows.map(|(n, name)| columns.iter().map(|(_, kind)| cell(kind, n, name)).collect()).collect();
    Answer::Rows(columns.iter().map(|(title, kind)| (title.clone(), cell(kind, 0, ""))).collect(), rows)
}

fn evaluate(config: &Config, visitor: &Visitor, expression: &Expression) -> Result<Cell, Message> {
    let text = |text: &str| Ok(Cell::Text(text.to_owned()));
    match expression {
        Expression::Text(value) => text(value),
        Expression::Number(number) => Ok(Cell::Int(*number)),
        Expression::All => Err(Message::new(263, 1, 16, "Must specify table to select from.")),
        Expression::Sum(parts) => {
            let cells: Vec<Cell> =
                parts.iter().map(|part| evaluate(config, visitor, part)).collect::<Result<_, _>>()?;
            if let Some(numbers) =
                cells.iter().map(|cell| if let Cell::Int(n) = cell { Some(*n) } else { None }).collect()
            {
                let numbers: Vec<i32> = numbers;
                return Ok(Cell::Int(numbers.iter().fold(0, |sum, number| sum.saturating_add(*number))));
            }
            let mut joined = String::new();
            for cell in cells {
                match cell {
                    Cell::Text(part) => joined.push_str(&part),
                    Cell::Int(number) => joined.push_str(&number.to_string()),
                    Cell::Null => return Ok(Cell::Null),
                }
            }
            Ok(Cell::Text(joined))
        }
        Expression::Name(name) => match name.as_str() {
            "@@version" => Ok(Cell::Text(config.version.describe())),
            "@@servername" => text(&config.server),
            "@@servicename" => text(&config.instance),
            "@@language" => text("us_english"),
            "@@spid" => Ok(Cell::Int(i32::from(visitor.spid))),
            "@@trancount" | "@@error" | "@@rowcount" => Ok(Cell::Int(0)),
            "system_user" => text(&visitor.user),
            "current_user" | "user" | "session_user" => text("guest"),
            "null" => Ok(Cell::Null),
            name if name.starts_with("@@") => Err(Message::new(102, 1, 15, format!("Incorrect syntax near '{name}'."))),
            name if name.starts_with('@') => {
                let found = visitor.variables.iter().find(|(variable, _)| variable.eq_ignore_ascii_case(name));
                found
                    .map(|(_, cell)| cell.clone())
                    .ok_or_else(|| Message::new(137, 2, 15, format!("Must declare the scalar variable \"{name}\".")))
            }
            name => Err(Message::new(207, 1, 16, format!("Invalid column name '{name}'."))),
        },
        Expression::Call(name, arguments) => call(config, visitor, name, arguments),
    }
}

fn call(config: &Config, visitor: &Visitor, name: &str, arguments: &[Expression]) -> Result<Cell, Message> {
    let text = |text: &str| Ok(Cell::Text(text.to_owned()));
    let first = match arguments.first() {
        Some(Expression::Text(text)) => text.to_ascii_lowercase(),
        _ => String::new(),
    };
    match name {
        "db_name" => text(&visitor.database),
        "db_id" => Ok(Cell::Int(1)),
        "suser_sname" | "suser_name" | "original_login" => text(&visitor.user),
        "user_name" => text("guest"),
        "host_name" => text(&visitor.host),
        "app_name" => text(&visitor.app),
        "is_srvrolemember" | "is_member" | "is_rolemember" => Ok(Cell::Int(i32::from(first == "public"))),
        "has_perms_by_name" => Ok(Cell::Int(0)),
        "space" => match arguments.first() {
            Some(Expression::Number(count)) => {
                Ok(Cell::Text(" ".repeat(usize::try_from(*count).unwrap_or(0).min(100))))
            }
            _ => Ok(Cell::Null),
        },
        "serverproperty" => match first.as_str() {
            "productversion" => Ok(Cell::Text(config.version.to_string())),
            "productlevel" => text("RTM"),
            "edition" => text("Standard Edition (64-bit)"),
            "machinename" | "computernamephysicalnetbios" => text(&config.machine),
            "servername" => text(&config.server),
            "isintegratedsecurityonly" | "isclustered" | "issingleuser" => Ok(Cell::Int(0)),
            _ => Ok(Cell::Null),
        },
        _ => Err(Message::new(195, 10, 15, format!("'{name}' is not a recognized built-in function name."))),
    }
}
