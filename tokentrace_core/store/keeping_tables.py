"""The tables of what is let go and what is known of it: retention, purges, backups and the audit log.

Migration m006. Released, so never changed.
"""

from __future__ import annotations

#: What says whose something was is a keyed hash: no name may outlive a purge.
WHAT_IS_KEPT = (
    "alter table runs add column expired text",  # null, 'payloads', or 'trace': what has gone from under this row
    "alter table messages add column expired integer",
    # What deletes texts is one at a time: who begins takes the next generation, and notes that it still works.
    "create table sweeps (generation integer not null, beat_at integer)",
    "insert into sweeps values (0, null)",
    # Texts that may go, as the calls that led to them have gone ('deleted') or are past their time ('silenced').
    "create table forsaken (because text, id text, primary key (because, id)) without rowid",
    "create table in_use (id text primary key) without rowid",  # texts that writers have met during a sweep
    "create table purged (hash text primary key, at integer not null) without rowid",
    "create table copies (path text primary key, kind text not null, at integer not null) without rowid",
    "insert into settings values ('subject_key', lower(hex(randomblob(32))))",
    "create table audit_log (id integer primary key, at integer not null, actor text, action text not null,"
    " subject text, detail text)",
    "create trigger audit_log_is_never_changed before update on audit_log"
    " begin select raise(abort, 'the audit log is append-only'); end",
    "create trigger audit_log_is_never_replaced before insert on audit_log"
    " when exists (select 1 from audit_log where id = new.id)"
    " begin select raise(abort, 'the audit log is append-only'); end",
    "create trigger audit_log_is_never_cut before delete on audit_log"
    " begin select raise(abort, 'the audit log is append-only'); end",
    # What calls cost whose traces have gone. '' stands for unknown, which a key cannot hold.
    """
    create table daily_costs (
        day text, project text, environment text, framework text, task_type text, provider text, model text,
        status text, run_status text, runs integer not null, calls integer not null, input_tokens integer not null,
        cached_tokens integer not null, output_tokens integer not null, reasoning_tokens integer not null,
        cost_nano_usd integer not null, estimated_nano_usd integer not null, unpriced_calls integer not null,
        unpriced_tokens integer not null, estimated_calls integer not null, input_audio_tokens integer not null,
        output_audio_tokens integer not null, web_searches integer not null,
        primary key (day, project, environment, framework, task_type, provider, model, status, run_status)
    ) without rowid
    """,
    "create view expired_costs as select *, cost_nano_usd / 1e9 as cost_usd from daily_costs",
)
