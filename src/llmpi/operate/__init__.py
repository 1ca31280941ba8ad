"""From a study to a service on devices that is rolled out and looked after."""
