//! What if an option is not on the command line? Its value may stand in an environment variable, which the
//! table names. What is typed comes first; an error says which of the two it was.

use super::{Args, Command, Failure, check_text};
use std::env;
use std::fmt::Display;

impl Args {
    /// Takes from the environment what was not typed. An empty variable counts as none, so that
    /// `KOLAM_ROOT= kolam serve` is a server without it.
    pub fn take_variables(&mut self) -> Result<(), Failure> {
        self.typed = self.given.len();
        for option in self.command.options() {
            let variable = option.variable.filter(|_| !self.has(option.name));
            let found = variable.and_then(|name| Some((name, env::var_os(name)?)));
            if let Some((variable, value)) = found.filter(|(_, value)| !value.is_empty()) {
                check_text(variable, option.value, &value)?;
                self.given.push((option.name, value));
            }
        }
        Ok(())
    }

    /// The environment variable that has given the value of an option.
    pub fn variable(&self, name: &str) -> Option<&'static str> {
        let untyped = self.given[self.typed..].iter().any(|(given, _)| *given == name);
        let option = self.command.options().find(|option| option.name == name);
        option.filter(|_| untyped)?.variable
    }

    /// An option and its value as the user has said them, for errors: `--root x`, or `KOLAM_ROOT=x`.
    pub fn said(&self, name: &str, value: impl Display) -> String {
        match self.variable(name) {
            Some(variable) => format!("{variable}={value}"),
            None => format!("{name} {value}"),
        }
    }
}

/// The environment variables, the option of each, and the commands that have it.
pub fn variables(commands: &[&Command]) -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let mut found: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for command in commands {
        for (option, variable) in command.options().filter_map(|o| Some((o.name, o.variable?))) {
            match found.iter_mut().find(|row| row.0 == variable) {
                Some(row) => row.2.push(command.name),
                None => found.push((variable, option, vec![command.name])),
            }
        }
    }
    found
}
