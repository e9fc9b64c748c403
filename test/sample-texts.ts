/** Texts in the domains that the sample model was trained on, written for measuring it: it has not seen them. */
export const sampleTexts = {
  prose: `The road to the mill ran along the river for the better part of a mile, and then, as if it had grown tired of the water's company, turned up between two fields of barley. Mr. Harding had walked it every evening for eleven years. He knew the place where the hedge was thin, and the stone on which old Mrs. Pell used to rest her basket; and on the evening of which I speak he stopped at that stone, and sat down upon it, and took the letter from his pocket for the third time.

"My dear sir," it began, "you will no doubt be surprised to hear from one who has been so long silent." He was surprised. He had supposed the writer to be dead. There had been a ship, and a storm, and a notice in the newspaper, and his sister had worn black for a whole winter. And here was the hand that he remembered, a little shaken, but with the same great loop to the letter d, asking him for the loan of twenty pounds.

He folded the paper and looked at the river. The sun was going down behind the poplars, and the light lay upon the water in long bars of gold. A boy was fishing from the farther bank. "Have you caught anything?" cried Mr. Harding, who did not care in the least.

"No, sir," said the boy. "They won't bite till dark."

"Then why do you not wait until it is dark?"

The boy thought about this for some time. "I should be afraid to come home, sir," he said at last.

Mr. Harding laughed, and then was ashamed of having laughed, for it seemed to him that there was more sense in the answer than in anything that he himself had said that day. He got up, and brushed the dust from his coat, and went on toward the mill; but he walked slowly, and his head was bent, and when the miller's wife wished him a good evening from her door he did not hear her.

That night he could not sleep. He lit the candle and read the letter again, and he opened the drawer in which he kept the little store of money that was to have bought the new roof. The wind had risen. He could hear the loose tiles moving above his head, one after another, like the fingers of a man who waits for an answer. "It is only money," he said aloud, and the sound of his own voice in the empty room frightened him. In the morning he put on his best hat and went to the bank.

It was Captain Morrow himself who opened the door. He was thinner than he had been, and his beard was quite white, but the eyes were the same, blue and hard and full of some secret amusement. He held out both his hands. "I knew that you would come," he said. "I told them so. I said, there is one man in England who will come himself and not send a clerk." And he drew Mr. Harding into a small dark room which smelled of tobacco and of the sea.
`,
  mathematics: `Question: A farmer has 24 hens. Each hen lays 5 eggs a week. He sells the eggs by the dozen for 3 dollars. How much money does he make in a week?
Answer: The hens lay 24 * 5 = 120 eggs a week. That is 120 / 12 = 10 dozen. He makes 10 * 3 = 30 dollars. The answer is 30.

Question: Maria reads 18 pages on Monday and twice as many on Tuesday. Her book has 100 pages. How many pages are left for her to read?
Answer: On Tuesday she reads 18 * 2 = 36 pages. In two days she reads 18 + 36 = 54 pages. There are 100 - 54 = 46 pages left. The answer is 46.

Question: A train travels at 60 miles per hour for 3 hours, and then at 40 miles per hour for 2 hours. What is the total distance?
Answer: In the first part it travels 60 * 3 = 180 miles. In the second part it travels 40 * 2 = 80 miles. The total distance is 180 + 80 = 260 miles. The answer is 260.

Question: Tom has 15 marbles. He gives 4 to his brother and then buys 3 bags with 6 marbles in each bag. How many marbles does Tom have now?
Answer: After giving some away he has 15 - 4 = 11 marbles. He buys 3 * 6 = 18 marbles. Now he has 11 + 18 = 29 marbles. The answer is 29.

Question: A shop sells shirts for $20 each. During a sale the price is 25% lower. How much do 4 shirts cost during the sale?
Answer: The discount on each shirt is $20 * 0.25 = $5. So each shirt costs $20 - $5 = $15. Four shirts cost 4 * $15 = $60. The answer is 60.

Question: Anna is 3 years older than Ben. Ben is twice as old as Carl. If Carl is 7 years old, how old is Anna?
Answer: Ben is 7 * 2 = 14 years old. Anna is 14 + 3 = 17 years old. The answer is 17.

Question: There are 8 tables in a classroom. At 5 of them sit 4 students each, and at the others sit 3 students each. How many students are in the classroom?
Answer: At the first tables sit 5 * 4 = 20 students. There are 8 - 5 = 3 other tables, at which sit 3 * 3 = 9 students. In all there are 20 + 9 = 29 students. The answer is 29.
`,
  code: `/**
 * Returns the items of the list in groups of at most \`size\`.
 */
export function chunk<T>(items: readonly T[], size: number): T[][] {
  if (size < 1) {
    throw new Error("size must be at least 1");
  }
  const result: T[][] = [];
  for (let i = 0; i < items.length; i += size) {
    result.push(items.slice(i, i + size));
  }
  return result;
}

export class LruCache<K, V> {
  private readonly map = new Map<K, V>();

  constructor(private readonly capacity: number) {}

  get(key: K): V | undefined {
    const value = this.map.get(key);
    if (value !== undefined) {
      this.map.delete(key);
      this.map.set(key, value);
    }
    return value;
  }

  set(key: K, value: V): void {
    if (this.map.size >= this.capacity) {
      const oldest = this.map.keys().next().value;
      this.map.delete(oldest);
    }
    this.map.set(key, value);
  }
}

def read_config(path):
    """Read a configuration file and return a dictionary of its values."""
    values = {}
    with open(path, "r") as f:
        for line in f:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            key, _, value = line.partition("=")
            values[key.strip()] = value.strip()
    return values


def test_read_config(tmp_path):
    path = tmp_path / "config.txt"
    path.write_text("# comment\\nname = test\\nport = 8080\\n")
    assert read_config(path) == {"name": "test", "port": "8080"}

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    int x = *(const int *)a;
    int y = *(const int *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int *values = malloc(sizeof(int) * argc);
    if (values == NULL) {
        fprintf(stderr, "out of memory\\n");
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        values[i - 1] = atoi(argv[i]);
    }
    qsort(values, argc - 1, sizeof(int), compare);
    for (int i = 0; i < argc - 1; i++) {
        printf("%d\\n", values[i]);
    }
    free(values);
    return 0;
}
`,
} as const;
