"""The reference of `bench.contest`: a session's analytics in plain Python, document by document, as the old script made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Problems = Mapping[tuple[str, int], Mapping[str, Any]]


def enhanced(session: Mapping[str, Any], problems: Problems, users: Mapping[str, Any]) -> dict[str, Any]:
    """The session with its 19 fields in order."""
    attempts = [completed(session, attempt, problems) for attempt in session["problems_attempted"]]
    ms = session["total_time_ms"]
    found = analytics(attempts)
    return {
        "session_id": session["session_id"],
        "session_status": session["session_status"],
        "created_at": session["created_at"],
        "completed_at": session["completed_at"],
        "username": session["username"],
        "user_id": session.get("user_id") or users.get(session["username"]),
        "year": session["year"],
        "contest": session["contest"],
        "mode": session["mode"],
        "shuffle": session.get("shuffle", False),
        "score": session["score"],
        "total_attempted": session["total_attempted"],
        "problems_attempted": attempts,
        **found,
        "total_time_ms": ms,
        "total_time_seconds": round(ms / 1000, 2),
        "total_time_minutes": round(ms / 60000, 2),
    }


def completed(session: Mapping[str, Any], attempt: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The attempt with what it lacks taken from its problem, its fields in order."""
    key = f"{session['contest'].replace(' ', '')}_{session['year']}", attempt["problem_number"]
    problem = problems.get(key, {})
    return {
        "problem_number": attempt["problem_number"],
        "problem_id": attempt["problem_id"],
        "is_correct": attempt["is_correct"],
        "selected_answer": attempt["selected_answer"],
        "correct_answer": attempt.get("correct_answer") or problem.get("correct_answer"),
        "time_spent_ms": attempt["time_spent_ms"],
        "time_spent_seconds": attempt["time_spent_seconds"],
        "attempt_timestamp": attempt["attempt_timestamp"],
        "difficulty": attempt.get("difficulty") or problem.get("difficulty"),
        "topics": attempt.get("topics") or problem.get("topics", []),
    }


def analytics(attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """The three analytic fields."""
    topics: dict[str, dict[str, Any]] = {}
    difficulties: dict[str, dict[str, Any]] = {}
    correct = ms = correct_ms = 0
    fastest = slowest = None
    for attempt in attempts:
        right, spent = attempt["is_correct"], attempt["time_spent_ms"]
        ms += spent
        if right:
            correct += 1
            correct_ms += spent
            fastest = spent if fastest is None else min(fastest, spent)
            slowest = spent if slowest is None else max(slowest, spent)
        for topic in dict.fromkeys(attempt["topics"]):
            _count(topics, topic, right)
        if attempt["difficulty"]:
            _count(difficulties, attempt["difficulty"], right)
    for counts in (topics, difficulties):
        for one in counts.values():
            one["accuracy"] = round(100 * one["correct"] / one["attempted"], 2)
    total = len(attempts)
    wrong = total - correct
    return {
        "performance_metrics": {
            "total_metrics": {
                "total_attempted": total,
                "total_correct": correct,
                "total_incorrect": wrong,
                "total_time_ms": ms,
                "total_time_seconds": round(ms / 1000, 2),
                "total_time_minutes": round(ms / 60000, 2),
            },
            "average_metrics": {
                "accuracy_percentage": round(100 * correct / total, 2) if total else 0.0,
                "average_time_per_problem_ms": round(ms / total, 2) if total else 0.0,
                "average_time_per_problem_seconds": round(ms / 1000 / total, 2) if total else 0.0,
                "average_time_correct_problems_ms": round(correct_ms / correct, 2) if correct else 0.0,
                "average_time_incorrect_problems_ms": round((ms - correct_ms) / wrong, 2) if wrong else 0.0,
            },
            "speed_metrics": {"fastest_correct_time_ms": fastest, "slowest_correct_time_ms": slowest},
            "topic_metrics": topics,
            "difficulty_metrics": difficulties,
        },
        "topic_performance": topics,
        "difficulty_performance": difficulties,
    }


def _count(counts: dict[str, dict[str, Any]], name: str, right: bool) -> None:
    one = counts.setdefault(name, {"attempted": 0, "correct": 0, "accuracy": 0.0})
    one["attempted"] += 1
    one["correct"] += right
