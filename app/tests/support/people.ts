/** People and groups of the test directory, each person with the same password. */
import { escapeDnValue } from "../../src/auth/directory.ts";
import { groups, people } from "./slapd.ts";

export const password = "directory password";
const person = (uid: string) => `dn: uid=${escapeDnValue(uid)},${people}
objectClass: inetOrgPerson
uid: ${uid}
cn: ${uid}
sn: ${uid}
userPassword: ${password}
`;
const group = (cn: string, members: string[]) => `dn: cn=${cn},${groups}
objectClass: groupOfNames
cn: ${cn}
${members.map((uid) => `member: uid=${escapeDnValue(uid)},${people}`).join("\n")}
`;
export const entries = [
  ...["ada", "eve", "vic", "bob+ops", "outsider", "leaver"].map(person),
  group("admins", ["ada"]),
  group("editors", ["ada", "eve", "bob+ops"]),
  `dn: cn=staff,${groups}\nobjectClass: posixGroup\ncn: staff\ngidNumber: 1\nmemberUid: vic\nmemberUid: leaver\n`,
].join("\n");
export const groupRoles = {
  [`cn=gone,${groups}`]: "admin",
  [`cn=staff,${groups}`]: "viewer",
  [`cn=editors,${groups}`]: "editor",
  [`cn=admins,${groups}`]: "admin",
} as const;
