import type { HostView } from "../../api/contract.js";
import type { Page } from "./gate.js";
import { labelled, labelledText } from "./label.js";
import { bytes, dateTime, moment, span } from "./measure.js";
import type { Style } from "./style.js";
import { listing, table } from "./text.js";

export function hostListing(hosts: readonly HostView[], now: number, style: Style): string[] {
  return listing(
    ["HOST", "CLUSTER", "ROLES", "AGENT", "RUNS", "INSTALLED", "HEALTH", "REMARKS"],
    hosts.map((host) => [
      host.host,
      host.cluster ?? "-",
      host.roles.length === 0 ? "-" : host.roles.join(","),
      agentOf(host, now, style),
      host.facts?.running ?? "-",
      host.facts?.installed ?? "-",
      healthOf(host, style),
      remarksOf(host).join("; "),
    ]),
    "no host is declared, and none ever called",
  );
}

/** All that is known of one host. */
export function hostLines(host: HostView, page: Page): string[] {
  const { now, columns, style } = page;
  const place = host.cluster === null ? "not declared in the fleet" : `${host.roles.join(", ")} of ${host.cluster}`;
  const aside = host.quarantine;
  return [
    `${style.strong(host.host)}  ${place}`,
    ...labelled("agent", [agentOf(host, now, style)]),
    ...(aside === null
      ? []
      : labelledText("set aside", `${dateTime(aside.at)} by ${aside.by}: ${aside.reason}`, columns, style.warn)),
    ...(host.facts === null ? labelled("facts", ["none yet"]) : factLines(host, host.facts, page)),
  ];
}

function factLines(host: HostView, facts: NonNullable<HostView["facts"]>, { now, columns, style }: Page): string[] {
  const { service } = facts;
  const offset = host.clockOffsetMs ?? 0;
  const restarts = service.restarts === 0 ? "" : `, restarted ${service.restarts} times by itself`;
  return [
    ...labelled("runs", [facts.running ?? "nothing, or it does not say"]),
    ...labelled("installed", [`${facts.installed ?? "nothing"}  (kept: ${facts.kept.join(", ") || "none"})`]),
    ...labelled("service", [
      `${service.name} ${service.state}${service.pid === null ? "" : `, pid ${service.pid}`}${restarts}`,
    ]),
    ...labelled("health", [healthOf(host, style)]),
    ...facts.ailments.flatMap((ailment) => labelledText("", ailment, columns, style.bad)),
    ...labelled("platform", [`${facts.os} ${facts.arch} ${facts.edition}${facts.fips ? " fips" : ""}`]),
    ...labelled("disks", table(facts.disks.map((disk) => [disk.path, `${bytes(disk.freeBytes)} free`]))),
    ...labelled("clock", [
      Math.abs(offset) < 1000 ? "as ours" : `${span(Math.abs(offset))} ${offset > 0 ? "ahead" : "behind"}`,
    ]),
    // On our own clock, whatever the host's says.
    ...labelled("seen", [moment(facts.at - offset, now)]),
  ];
}

function agentOf(host: HostView, now: number, style: Style): string {
  if (host.present) return style.good("connected");
  if (host.lastSeenAt === null) return style.bad("never seen");
  return style.bad(`away ${span(now - host.lastSeenAt)}`);
}

function healthOf({ facts }: HostView, style: Style): string {
  if (facts === null) return "-";
  return facts.healthy ? style.good("healthy") : style.bad("unhealthy");
}

function remarksOf(host: HostView): string[] {
  return [
    ...(host.declared ? [] : ["not declared"]),
    ...(host.quarantine === null ? [] : [`set aside: ${host.quarantine.reason}`]),
  ];
}
