# Tokens as they are made, from a few Python workers to many readers: `mix run examples/token_streaming.exs`.
#
# A language model yields its answer token by token. Here a small generator stands for it. Each
# reader is a process, as that of a connection would be; while the model of one thinks, the workers
# serve the others. One of the readers goes away in the middle, and its generator is closed.

Logger.configure(level: :warning)

model = """
import time

finished, abandoned = [], []

def answer(question, delay=0.01):
    tokens = f"You asked: {question} It depends.".split()
    try:
        for token in tokens:
            time.sleep(delay)       # the model thinks
            yield token + " "
        finished.append(question)
    finally:
        if question not in finished:
            abandoned.append(question)
"""

{:ok, _pool} = ErlangPython.Pool.start_link(name: :models, workers: 2, preload: [{:code, model}])

tokens = fn question -> ErlangPython.stream(:__main__, :answer, [question], pool: :models) end

# One answer, printed as it comes.
"What is a monad?" |> tokens.() |> Enum.each(&IO.write/1)
IO.puts("")

# Many readers at once, over two workers. Each gets its own tokens, in order.
readers =
  for n <- 1..40 do
    question = "Is #{n} prime?"
    Task.async(fn -> {question, question |> tokens.() |> Enum.join()} end)
  end

answers = Task.await_many(readers, :infinity)

true =
  Enum.all?(answers, fn {question, text} -> text == "You asked: #{question} It depends. " end)

IO.puts("#{length(answers)} readers have their answers")

# A reader that has seen enough: when `Enum.take/2` returns, the generator has run its `finally`.
IO.inspect("Why?" |> tokens.() |> Enum.take(2))

abandoned =
  for _ <- 1..20, reduce: [] do
    seen -> seen ++ ErlangPython.eval!("abandoned", %{}, pool: :models)
  end

IO.puts("abandoned: #{abandoned |> Enum.uniq() |> Enum.join(", ")}")
ErlangPython.Pool.stop(:models)
