"""A campaign of faults: many builds asked for, everything under them broken at random, and an audit of what came of it.

    grounds.py    what it stands on, and what is built there before
    wishes.py     what is asked for: kinds of builds, versions, and how an ImageBuild looks that has what it was to have
    watching.py   a look at the namespace twice a second: every build that any status ever told of, every Job
    asking.py     who asks waits for it, and keeps what came of it
    driving.py    asks: creates, edits, rebuilds, deletes, several ImageBuilds at once, with or without waiting
    moving.py     commits to branches that ImageBuilds follow by themselves, from the first fault to the last
    bases.py      has base images move, which they follow, too
    breaking.py   breaks: processes killed, requests and watches meddled with, the clock set
    registrylog.py what the registry itself says was pushed
    problems.py   the four kinds of what must not be
    recovery.py   what each kind of fault did, and how long until builds came about again
    undisturbed.py what `strata build` makes of the same
    auditing.py   the verdict, from the API server, the registry and `strata build` alone
    following.py  the verdict on what follows by itself

All that is random comes from one seed; when it meets what else happens is the machine's business.
"""
