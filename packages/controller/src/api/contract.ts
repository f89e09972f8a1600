/**
 * What belayd answers over HTTP, as the CLI and the dashboard see it. JSON; times are milliseconds since the epoch.
 * Errors are `{ error: ErrorInfo }` with a 4xx or 5xx status. Every request carries `Authorization: Bearer <API token>`: who
 * asks is whoever's token that is, and docs/security.md says who may ask for what. The types lie beside this file, by subject as
 * the routes do.
 *
 *   GET  /v1/status                                  Status
 *   GET  /v1/fleet                                   FleetView
 *   POST /v1/plans                 PlanRequest       PlanAnswer
 *   GET  /v1/plans                                   PlanSummary[]          newest first, ?limit=
 *   GET  /v1/plans/:plan                             Plan                   an unambiguous prefix of the id will do, everywhere
 *   POST /v1/runs                  RunRequest        RunView
 *   GET  /v1/runs                                    RunSummary[]           newest first, ?limit=
 *   GET  /v1/runs/:run                               RunView                `latest` names the newest run, everywhere
 *   GET  /v1/runs/:run/events?after=SEQ              { events: LoggedEvent[] }   at most 1000 a page
 *   GET  /v1/runs/:run/stream                        text/event-stream of RunView (`event: view`), at most 4 a second; ends with the run
 *   GET  /v1/runs/:run/log?host=&after=&follow=1     LogLine[]; with follow: text/event-stream of LogLine (`event: line`)
 *   GET  /v1/runs/:run/recap                         Recap
 *   GET  /v1/runs/:run/why                           { waits: Wait[] }
 *   POST /v1/runs/:run/pause|resume|abort  Command   RunView
 *   POST /v1/runs/:run/retry|skip  FailureCommand    RunView
 *   POST /v1/runs/:run/rollback    RollbackRequest   RollbackAnswer
 *   GET  /v1/gates?run=&all=1                        GateView[]             open ones; all=1: every gate of the run
 *   GET  /v1/gates/:run/:gate                        GateView
 *   POST /v1/gates/:run/:gate/approve|reject Command GateView
 *   POST /v1/gates/:run/:gate/break-glass   Command  GateView               an admin's alone; the reason is needed
 *   GET  /v1/hosts                                   HostView[]
 *   GET  /v1/hosts/:host                             HostView
 *   POST /v1/hosts/:host/quarantine|release Command  HostView
 *   GET  /v1/audit?since=&until=&who=&action=&run=&host=&before=&limit=   AuditPage   newest first
 *   GET  /v1/audit/entries/:seq                      AuditEntry
 *   GET  /v1/audit/files/*                           application/octet-stream   as c2sp.org/tlog-tiles: checkpoint, key, tile/...
 *   GET  /v1/backups?host=&run=                      BackupView[]
 *   GET  /v1/backups/:host/:backup                   BackupView
 *   POST /v1/backups/:host/:backup/verify?copy=1     BackupView             asks the host to read it back; copy=1: the copy instead
 *   POST /v1/backups/:host/:backup/restore RestoreRequest  RestoreAnswer
 *   GET  /v1/backups/:host/:backup/copy?sha256=      application/octet-stream   the copy as it is stored; also for that host's agent
 *   GET  /v1/releases                                ReleaseView[]
 *   POST /v1/releases?file=NAME&sha256=HEX           ReleaseView            body: the tarball, application/octet-stream
 *   POST /v1/releases/:version/block|unblock|clear Command  ReleaseView     clear: no longer suspect
 *   POST /v1/agents/tokens         JoinTokenRequest     JoinTokenMade          shown once, stored hashed
 *   GET  /v1/agents/tokens                           JoinTokenView[]        newest first
 *   DELETE /v1/agents/tokens/:host                   {}                     takes back what was not used
 *   POST /v1/agents/join           JoinRequest       Issued                 of a host that has a token, over TLS (shared/identity.ts)
 *   POST /v1/agents/renew          RenewRequest      Issued                 of a host, with the certificate before
 *   POST /v1/agents/show           {}                {}                     of a host: shows its new certificate
 *   GET  /v1/agents/identities                       IdentityView[]
 *   POST /v1/agents/identities/:host/revoke Command  {}
 *   GET  /v1/authorities                             AuthorityView[]
 *   POST /v1/authorities/rotate    PhaseCommand      AuthorityView[]
 *   POST /v1/authorities/activate  PhaseCommand      { authorities: AuthorityView[], tokensEnded: string[] }
 *   POST /v1/authorities/retire    PhaseCommand      AuthorityView[]
 *   GET  /v1/login?return=PATH                       302                    to the identity provider, for browsers
 *   GET  /v1/login/callback                          303                    from there, with a session's cookie
 *   POST /v1/logout                                  {}                     ends the browser's session
 *   POST /v1/login/device                            DeviceLogin            for the command line: a code to type elsewhere
 *   POST /v1/login/device/poll     { id }            DeviceAnswer           has the person decided?
 *   GET  /v1/whoami                                  Whoami
 *   GET  /v1/users                                   UserView[]
 *   POST /v1/users                 NewUser           UserView
 *   GET  /v1/users/:user                             UserView
 *   POST /v1/users/:user           UserChange        UserView
 *   DELETE /v1/users/:user                           {}
 *   GET  /v1/tokens?user=&all=1                      TokenView[]            one's own; admins: anybody's
 *   POST /v1/tokens                TokenRequest      TokenAnswer            shown once, stored hashed
 *   DELETE /v1/tokens/:token                         {}
 */
export type * from "./agents.js";
export type * from "./audit.js";
export type * from "./backups.js";
export type * from "./command.js";
export type * from "./gates.js";
export type * from "./hosts.js";
export type * from "./identity.js";
export type * from "./login.js";
export type * from "./people.js";
export type * from "./plans.js";
export type * from "./releases.js";
export type * from "./runs.js";
