"""What `labferry demo` shows: the real daemon at work between a made-up rig, Alyx and Globus.

Room: cli. The daemon is a process of its own and is asked like any other, over its socket; the sandbox runs in this
process. Imported when the command runs.

* `place`: the demo's directory. `children`, `leash`: processes that end with it. `daemon`, `recording`: who acts.
* `story`: what happened so far, without a file or a clock. `observer`: asks the daemon and tells the story.
* `screen`, `plain`: the two ways to show it.
* `comparison`, `download`, `one_check`, `one_client`: is everything there, as a user gets it?
* `course`: the order of events. `summary`: what it came to.
"""
