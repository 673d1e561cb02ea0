/**
 * Leaves stack traces to Node itself. Pulumi's runner maps every one through source maps, and its SDK takes one for every
 * promise, which took a third of the program for prod; Node strips types in place, so lines stay where they are.
 */
Reflect.deleteProperty(Error, "prepareStackTrace");
