"""What the scenes hold and where cameras stand, switch by switch, so that each can be weighed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Content:
    """Every group of what makes scenes and views natural; all on by default.

    parts: things have parts (legs, backs, books); off, each is the box around it.
    clutter: small things on tables, cabinets and floors, cables, cartons.
    people: standing, sitting and walking.
    arrangement: things stand in groups as in use: chairs at tables, kitchens along a wall,
        rows of shelves; off, everything stands anywhere.
    natural_views: cameras look at things, floors and along rooms, as hands and robots hold
        them; off, of several tries the view with the widest range of depths is taken.
    wide_roads: avenues, suburbs, crossings and country roads beside the narrow streets.
    vehicle_views: cameras on vehicles, looking ahead, aside and back.
    """

    parts: bool = True
    clutter: bool = True
    people: bool = True
    arrangement: bool = True
    natural_views: bool = True
    wide_roads: bool = True
    vehicle_views: bool = True
