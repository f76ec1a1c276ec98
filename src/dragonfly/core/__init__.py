"""Values and arithmetic of the system. No IO, no clock, no globals: a glossary that runs."""
