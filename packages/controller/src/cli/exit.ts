/** What the program's exit code says. Scripts depend on these: docs/cli.md lists them. */
export const EXIT = {
  ok: 0,
  /** An error, a blocked plan, findings of the linter, a run that was aborted or denied. */
  error: 1,
  /** `belay plan`: there is something to do (as Terraform's -detailed-exitcode). */
  changes: 2,
  /** Following a run: it ended, or was left at a failure gate, with failed hosts (as Ansible). */
  hostsFailed: 2,
  /** Following a run with --exit-at-gate: people are asked. */
  waitingAtGate: 3,
  /** Following a run: as `hostsFailed`, and hosts that can't be reached are among them (as Ansible). */
  hostsUnreachable: 4,
  /** Ctrl-C, as shells count it. */
  interrupted: 130,
} as const;
