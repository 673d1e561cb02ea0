/** Commands behind the Makefile that bring a change to production and back. */
import { checklistCommand } from "./checklist.ts";
import { audit, check, scanSecrets } from "./checks.ts";
import { checkManifests } from "../manifests/check.ts";
import { cloudLogin } from "./cloud.ts";
import { backup, deploy, drift, pushImages, restoreDrill, smoke } from "./deploy.ts";
import { deployPrevious } from "./deployPrevious.ts";
import { emergency } from "./emergency.ts";
import { load } from "./load.ts";
import { previewComment } from "./previewComment.ts";
import { closeCommand, releaseCommand } from "./release.ts";
import { rollbackCommand } from "./rollback.ts";

export const deliveryCommands = {
  check,
  "check-manifests": checkManifests,
  audit,
  "scan-secrets": scanSecrets,
  "cloud-login": cloudLogin,
  deploy: (stack = "dev", images = "") => deploy(stack, images),
  "deploy-previous": (stack = "dev") => deployPrevious(stack),
  drift: (stack = "dev") => drift(stack),
  smoke: (url = "") => smoke(url),
  "restore-drill": (stack = "dev") => restoreDrill(stack),
  backup: (stack = "dev", kind = "") => backup(stack, kind || "hourly"),
  "push-images": (registry = "") => pushImages(registry),
  checklist: (stack = "dev") => checklistCommand(stack),
  release: (stack = "dev", image = "") => releaseCommand(stack, image),
  "release-close": (stack = "dev") => closeCommand(stack),
  rollback: (stack = "dev") => rollbackCommand(stack),
  emergency: (stack = "dev", level = "") => emergency(stack, level),
  load: (profile = "") => load(profile),
  "preview-comment": (pullRequest = "") => previewComment(pullRequest),
};
