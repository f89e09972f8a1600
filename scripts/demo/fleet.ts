import type { ClusterOnDisk } from "../../test/support/fleet-on-disk/index.js";

export const FROM = "5.4.2";
/** Where the fleet stops between the two majors. */
export const STOP = "6.2.31";
export const TO = "7.1.0";

/** A root with two auths in high availability, and a leaf that trusts it. */
export const CLUSTERS: readonly ClusterOnDisk[] = [
  {
    name: "main",
    ha: "shrink",
    hosts: [
      { name: "auth-1", roles: ["auth"] },
      { name: "auth-2", roles: ["auth"] },
      { name: "proxy-1", roles: ["proxy"] },
      { name: "proxy-2", roles: ["proxy"] },
      { name: "node-1", roles: ["node"] },
      { name: "node-2", roles: ["node"] },
      { name: "node-3", roles: ["node"] },
    ],
  },
  {
    name: "eu",
    trusts: "main",
    ha: "shrink",
    hosts: [
      { name: "eu-auth-1", roles: ["auth"] },
      { name: "eu-proxy-1", roles: ["proxy"] },
      { name: "eu-node-1", roles: ["node"] },
      { name: "eu-node-2", roles: ["node"] },
    ],
  },
];
