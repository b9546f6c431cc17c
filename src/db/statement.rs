//! A statement whose text is made once and prepared once a connection.
//!
//! Diesel's `sql_query` is prepared anew at each use (one more round trip); the typed query
//! builder needs schema names at compile time. This is the way between: text with `$1`
//! placeholders, typed binds, cached by text and bind types.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};
use diesel_async::methods::{ExecuteDsl, LoadQuery};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use std::marker::PhantomData;

/// SQL text, its binds to follow in the order of `$1`, `$2`, ….
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    sql: &'a str,
}

/// A statement with one more bind.
#[derive(Debug, Clone, Copy)]
pub struct Bound<Inner, ST, V> {
    inner: Inner,
    value: V,
    sql_type: PhantomData<ST>,
}

pub fn statement(sql: &str) -> Statement<'_> {
    Statement { sql }
}

/// Binds the next placeholder.
pub trait Bind: Sized {
    fn bind<ST, V>(self, value: V) -> Bound<Self, ST, V> {
        Bound {
            inner: self,
            value,
            sql_type: PhantomData,
        }
    }
}

impl Bind for Statement<'_> {}
impl<Inner, ST, V> Bind for Bound<Inner, ST, V> {}

impl QueryFragment<Pg> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.sql);
        Ok(())
    }
}

impl<Inner, ST, V> QueryFragment<Pg> for Bound<Inner, ST, V>
where
    Inner: QueryFragment<Pg>,
    Pg: HasSqlType<ST>,
    V: ToSql<ST, Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.inner.walk_ast(out.reborrow())?;
        out.push_bind_param_value_only(&self.value)
    }
}

impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Inner, ST, V> QueryId for Bound<Inner, ST, V> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl<Inner, ST, V> Query for Bound<Inner, ST, V> {
    type SqlType = Untyped;
}

/// Runs a statement; the number of rows it touched.
///
/// Boxed: a query that borrows its binds otherwise leaves a future whose `Send` the compiler
/// cannot see.
pub fn execute<'a, Q>(query: Q, conn: &'a mut AsyncPgConnection) -> BoxFuture<'a, QueryResult<usize>>
where
    Q: ExecuteDsl<AsyncPgConnection, Pg> + Send + 'a,
{
    Box::pin(Q::execute(query, conn))
}

/// All rows of a statement.
pub fn load<'a, Row, Q>(query: Q, conn: &'a mut AsyncPgConnection) -> BoxFuture<'a, QueryResult<Vec<Row>>>
where
    Q: LoadQuery<'a, AsyncPgConnection, Row> + Query + RunQueryDsl<AsyncPgConnection> + Send + 'a,
    Row: Send + 'a,
{
    Box::pin(RunQueryDsl::load(query, conn))
}

/// The one row of a statement that gives at most one.
pub async fn optional<'a, Row, Q>(query: Q, conn: &'a mut AsyncPgConnection) -> QueryResult<Option<Row>>
where
    Q: LoadQuery<'a, AsyncPgConnection, Row> + Query + RunQueryDsl<AsyncPgConnection> + Send + 'a,
    Row: Send + 'a,
{
    Ok(load(query, conn).await?.into_iter().next())
}
