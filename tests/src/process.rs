use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::output::Output;

/// A process of our own; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    output: Output,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        // What steers the tests is no setting of the broker.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LEVERET_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
        let output = Output::default();
        output.follow(child.stdout.take().expect("a pipe"));
        output.follow(child.stderr.take().expect("a pipe"));
        Self { child, output }
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is ours");
    }

    /// Waits for the end.
    pub(crate) fn await_exit(&mut self) -> ExitStatus {
        // Its pipes end when it does, and they can be awaited with a limit.
        self.output.await_end();
        self.child.wait().expect("the process is ours")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
