"""Entry point: `python -S bootstrap.py`.

A script is compiled anew at every start, a module is cached; so this file only starts the module
and must not do more.
"""

import hothouse_client

hothouse_client.main()
