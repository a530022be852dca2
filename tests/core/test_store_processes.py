"""More than one process: forks write their own rows, and a killed process leaves a readable trace."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Script = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def script(db: Path) -> Script:
    """Run a script in a Python of its own; it finds `db` and tokentrace."""

    def run(source: str) -> subprocess.CompletedProcess[str]:
        head = f"import os, signal, sys, threading\nfrom tokentrace_core import *\ndb = {str(db)!r}\n"
        return subprocess.run(
            # Python 3.12 warns of any fork of a process that has threads.
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + textwrap.dedent(source)],
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


def test_p17_a_killed_process_leaves_the_runs_and_calls_it_had_begun(script: Script, db: Path) -> None:
    done = script("""
        tracer = Tracer(db)
        with tracer.run("agent") as run:
            with run.llm("gpt-4o") as call:
                call.done("finished")
            run.llm("gpt-4o").begin()
            tracer.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert done.returncode == -9
    assert rows(db, "select status, llm_calls from runs") == [("running", 2)]
    assert rows(db, "select status from llm_calls order by started_at") == [("success",), ("running",)]
    assert rows(db, "pragma integrity_check") == [("ok",)]


def test_p17_a_run_is_in_the_file_without_anyone_asking_for_it(script: Script, db: Path) -> None:
    script("""
        import time, sqlite3
        tracer = Tracer(db)
        tracer.run("agent").begin()
        for _ in range(200):
            time.sleep(0.01)
            if sqlite3.connect(db).execute("select 1 from sqlite_master where name = 'runs'").fetchone():
                if sqlite3.connect(db).execute("select count(*) from runs").fetchone()[0]:
                    break
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert rows(db, "select name, status from runs") == [("agent", "running")]


def test_p17_a_process_that_just_ends_has_written_everything(script: Script, db: Path) -> None:
    done = script("""
        tracer = Tracer(db)
        with tracer.run("done"):
            pass
        tracer.run("still open").begin()
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db, "select name, status from runs order by name") == [
        ("done", "success"),
        ("still open", "interrupted"),
    ]


def test_p17_a_forked_child_writes_its_own_rows_beside_its_parents(script: Script, db: Path) -> None:
    done = script("""
        tracer = Tracer(db)
        with tracer.run("parent"):
            tracer.flush()
            child = os.fork()
            if not child:
                with tracer.run("part in the child"):
                    with tracer.llm("gpt-4o") as call:
                        call.done("from the child")
                tracer.flush(10)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            with tracer.llm("gpt-4o") as call:
                call.done("from the parent")
        tracer.flush(10)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db, "select name, status from runs order by name") == [
        ("parent", "success"),
        ("part in the child", "success"),
    ]
    assert rows(db, "select count(*), count(distinct run_id) from llm_calls") == [(2, 2)]
    assert rows(db, "select body from messages order by body") == [
        ('{"content":"from the child","role":"assistant"}',),
        ('{"content":"from the parent","role":"assistant"}',),
    ]
    assert rows(db, "pragma integrity_check") == [("ok",)]


def test_p17_a_child_that_ends_does_not_end_the_runs_of_its_parent(script: Script, db: Path) -> None:
    done = script("""
        import sqlite3
        tracer = Tracer(db)
        tracer.run("parent").begin()
        tracer.flush()
        child = os.fork()
        if not child:
            tracer.run("child").begin()
            sys.exit(0)
        os.waitpid(child, 0)
        print(sqlite3.connect(db).execute("select name, status from runs order by name").fetchall())
    """)
    assert done.stdout == "[('child', 'interrupted'), ('parent', 'running')]\n"


def test_p17_a_fork_while_another_thread_records_does_not_hang_the_child(script: Script, db: Path) -> None:
    done = script("""
        tracer = Tracer(db)
        inside, forked = threading.Event(), threading.Event()

        def slow_locator():
            inside.set()
            forked.wait()

        tracer.recorder.add_locator(slow_locator)
        threading.Thread(target=lambda: tracer.run("slow").begin(), daemon=True).start()
        inside.wait()
        child = os.fork()
        forked.set()
        if not child:
            with tracer.run("child"):
                pass
            tracer.flush(10)
            os._exit(0)
        os.waitpid(child, 0)
        print("both went on")
    """)
    assert done.stdout == "both went on\n"
    assert ("child",) in rows(db, "select name from runs")


def test_eight_processes_write_one_file_and_lose_nothing(script: Script, db: Path) -> None:
    done = script("""
        children = []
        for number in range(8):
            child = os.fork()
            if not child:
                with Tracer(db) as tracer:
                    for _ in range(25):
                        with tracer.run("agent"), tracer.tool("lookup"):
                            pass
                    flushed = tracer.flush(20)
                    os._exit(0 if flushed and not tracer.losses else 1)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
    """)
    assert done.stdout == f"{[0] * 8}\n"
    assert rows(db, "select count(*) from runs where status = 'success'") == [(200,)]
    assert rows(db, "select count(*) from tool_calls where status = 'success'") == [(200,)]


CHILD_WORKS = """
    import multiprocessing

    def work():
        with tracer.run("done"), tracer.llm("gpt-4o") as call:
            call.done("from the child")
        tracer.run("still open").begin()

    def work_in_a_child_of_its_own():
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
"""
FROM_THE_CHILD = [("done", "success"), ("still open", "interrupted")]


@pytest.mark.parametrize("target", ["work", "work_in_a_child_of_its_own"])
@pytest.mark.parametrize("imported", ["first", "last"])
def test_a_forked_worker_that_just_ends_has_written_everything(
    script: Script, db: Path, target: str, imported: str
) -> None:
    make = "\n    tracer = Tracer(db)\n"
    done = script(
        (CHILD_WORKS + make if imported == "first" else make + CHILD_WORKS)
        + f"""
    with tracer.run("parent"):
        child = multiprocessing.get_context("fork").Process(target={target})
        child.start()
        child.join()
        assert child.exitcode == 0
    """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db, "select name, status from runs order by name") == [
        FROM_THE_CHILD[0],
        ("parent", "success"),
        FROM_THE_CHILD[1],
    ]
    assert rows(db, "select count(*) from llm_calls where status = 'success'") == [(1,)]


def test_children_of_a_process_whose_clock_was_set_back_have_ids_of_their_own(script: Script) -> None:
    """Two writers of one id hold each other's runs for alive, and spans of one run replace each other."""
    done = script("""
        import time
        from tokentrace_core import ids

        now = time.time_ns
        time.time_ns = lambda: now() + 3_600_000_000_000
        ids.new_span_id()
        time.time_ns = now
        for _ in range(3):
            if (child := os.fork()) == 0:
                print(ids.new_span_id(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
    """)
    assert len(set(done.stdout.split())) == 3, done.stderr


def test_a_fork_amid_the_import_of_a_library_leaves_the_child_all_of_it(script: Script, db: Path) -> None:
    done = script("""
        import importlib.machinery, time

        class Slow:
            def find_spec(self, name, path, _=None):
                if name != "sqlite_utils.migrations":
                    return None
                spec = importlib.machinery.PathFinder.find_spec(name, path)
                execute = spec.loader.exec_module
                spec.loader.exec_module = lambda module: (time.sleep(3), execute(module))
                return spec  # takes longer than a fork waits for a batch

        sys.meta_path.insert(0, Slow())
        tracer = Tracer(db)
        with tracer.run("parent"):
            time.sleep(0.2)
            if (child := os.fork()) == 0:
                with tracer.run("child"):
                    pass
                os._exit(0 if tracer.flush(10) else 1)
            assert os.waitpid(child, 0)[1] == 0
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db, "select name, status from runs order by name") == [
        ("child", "success"),
        ("parent", "success"),
    ]


def test_a_pool_of_forked_workers_has_written_everything_when_it_is_closed(script: Script, db: Path) -> None:
    done = script("""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        tracer = Tracer(db)

        def work(number):
            with tracer.run("agent"), tracer.llm("gpt-4o", messages=[number]) as call:
                call.done("done")

        with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
            list(pool.map(work, range(40)))
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db, "select count(*) from runs where status = 'success'") == [(40,)]


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("made", ["by the module", "by the worker"])
def test_a_worker_that_is_not_forked_from_us_has_written_everything(db: Path, method: str, made: str) -> None:
    program = db.with_name("program.py")
    tracer = f"from tokentrace_core import Tracer; tracer = Tracer({str(db)!r})"
    program.write_text(f"""
import multiprocessing
{tracer if made == "by the module" else ""}

def work():
    global tracer
    {tracer if made == "by the worker" else ""}
    with tracer.run("done"):
        pass
    tracer.run("still open").begin()

if __name__ == "__main__":
    child = multiprocessing.get_context({method!r}).Process(target=work)
    child.start()
    child.join()
""")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(db, "select name, status from runs order by name") == FROM_THE_CHILD


def test_a_locked_file_holds_up_the_end_of_a_process_no_longer_than_agreed_and_is_said(
    script: Script, db: Path
) -> None:
    done = script("""
        import sqlite3, time, atexit
        tracer = Tracer(db)
        tracer.flush()
        other = sqlite3.connect(db)
        other.execute("begin immediate")
        with tracer.run("agent"):
            pass
        tracer.close(0.5)
        began = time.monotonic()
        import tokentrace_core.store.process_end as process_end
        atexit.unregister(process_end._end)
        process_end._end()
        print(1.5 < time.monotonic() - began < 3)
    """)
    assert done.stdout == "True\n"
    assert done.stderr.count("2 records are not in") == 1
