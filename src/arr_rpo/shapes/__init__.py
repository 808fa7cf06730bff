"""The embedded world: what it is (`world`), what knows its truth (`oracles`), people with tastes (`annotators`), and how the
embedded policies and judge were made (`recipes`). Data and weights lie beside them."""
