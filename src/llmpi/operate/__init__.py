"""From a study to a service that is looked after."""
