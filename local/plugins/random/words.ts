const words = (text: string): string[] => text.split(" ");

export const adjectives = words(
  "able brave bright calm clever cosmic eager fair fond gentle glad good grand happy keen kind light lively loyal " +
    "merry mild neat noble proud quick quiet rapid ready sharp smart solid steady sunny tidy true vivid warm wise",
);

export const animals = words(
  "badger bear beaver bison cat cobra crane crow deer dingo dog dove duck eagle ferret finch fox frog gecko goose " +
    "hare hawk heron horse ibex koala lark lemur lynx mole moose newt otter owl panda pigeon puma quail raven robin " +
    "seal shrew skunk sloth snail swan tapir tiger toad trout turtle vole walrus weasel whale wolf wren yak zebra",
);
