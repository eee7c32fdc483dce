"""A store with knowledge of every kind."""

import json
from pathlib import Path

import pytest

from kdtui.workflows.knowledge.distill import distill_annotations
from store.calls import record_call
from store.database import open_database
from store.knowledge import NewKnowledge, add_knowledge, find_knowledge


@pytest.fixture
def full_store(demo_store: Path) -> Path:
    """A store with the demo, its patterns, rules and thoughts, some rejected, and one written by a model."""
    db = open_database(demo_store)
    list(distill_annotations(db, "demo-outdoor", ["rule", "thought"]))
    call = record_call(
        db,
        key="k",
        teacher="large model",
        step="rules",
        request=json.dumps({"messages": [["user", "What do you see [b]here[/b]?"]]}),
        response="Tents go with mats.",
        seconds=1.0,
        attempts=1,
    )
    pattern = find_knowledge(db, format="pattern")[0]
    sessions = db.execute("SELECT session FROM sessions WHERE split = 'train' ORDER BY id LIMIT 2").fetchall()
    add_knowledge(
        db,
        "demo-outdoor",
        "rule",
        "large model",
        [
            NewKnowledge(
                "Zebra tents go with mats",
                json.dumps({"text": "Zebra tents go with mats", "together": True, "categories": [["A"], ["B"]]}),
                0.99,
                precision=0.5,
                call=call,
                sessions=tuple(session for (session,) in sessions),
                parents=(pattern.id,),
            )
        ],
    )
    db.close()
    return demo_store
