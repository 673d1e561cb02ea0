import { openApiDocument } from "../http/openapi.ts";
import { toMarkdown } from "../http/reference.ts";

// Prints the API's reference, for `npm run openapi` to keep in docs/.

const format = process.argv[2];
if (format === "json") {
  console.log(JSON.stringify(openApiDocument(), null, 2));
} else if (format === "markdown") {
  process.stdout.write(
    `<!-- Written from the code by \`npm run openapi\` in app/. -->\n\n${toMarkdown(openApiDocument())}`,
  );
} else {
  console.error("usage: openapi.js json|markdown");
  process.exitCode = 2;
}
