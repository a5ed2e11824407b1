"""The engines: what turns pixels into better pixels, in children that can be lost without losing anything else.

`engine` is the promise that workers call, `catalogue` names the models, `child`, `codec` and `inference` are the
parent's side of the children. Everything below `entry` (`pictures`, `networks`, `runners`) is loaded in children only.
"""
