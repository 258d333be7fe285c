defmodule PhoenixMl.Model do
  @moduledoc """
  The context module: what the web layer may ask the model for. Python is called here and nowhere else.
  """

  # The text and not the path: it is in the compiled module, wherever that runs.
  @external_resource "priv/python/pyproject.toml"
  @pyproject File.read!("priv/python/pyproject.toml")

  @pool :ml
  @longest_query 1_000
  @most_matches 20

  @typedoc "What is wrong with a request, as a sentence, or what went wrong in the pool."
  @type reason :: {:invalid, String.t()} | ErlangPython.Error.t()

  @doc "The pool's options, for the supervision tree."
  @spec pool() :: keyword()
  def pool do
    [
      name: @pool,
      workers: setting(:workers),
      max_concurrent: setting(:max_concurrent),
      python: ErlangPython.Env.uv(@pyproject),
      paths: [Application.app_dir(:phoenix_ml, "priv/python")],
      preload: ["answers"],
      # The model is loaded.
      start_timeout: 300_000,
      # The workers are the parallelism; threads within each would only fight for the same processors.
      env: %{"OPENBLAS_NUM_THREADS" => "1", "OLLAMA_URL" => setting(:ollama_url)}
    ]
  end

  @doc """
  The passages that are nearest to `"query"`, best first: `"top"` of them, 3 by default.

  Each is a map of `"text"` and `"score"`, the cosine of the two vectors.
  """
  @spec search(map()) :: {:ok, [map()]} | {:error, reason()}
  def search(params) do
    with {:ok, query} <- query(params),
         {:ok, top} <- top(params),
         do: ErlangPython.call(:search, :search, [query, top], options())
  end

  @doc """
  The answer to `"query"`, as a lazy stream of tokens, of which the first has come already: until then a failure is an
  error and no exception.

  Run it in the process that asked for it. Halting it, or the end of that process, stops the model. What Python raises
  later is raised as `ErlangPython.Error`.
  """
  @spec answer(map()) :: {:ok, Enumerable.t()} | {:error, reason()}
  def answer(params) do
    with {:ok, query} <- query(params),
         do: :answers |> ErlangPython.stream(:answer, [query], options()) |> begin()
  end

  defp begin(tokens) do
    case Enumerable.reduce(tokens, {:cont, nil}, fn token, _before -> {:suspend, token} end) do
      {:suspended, first, next} -> {:ok, Stream.concat([first], rest(next))}
      {ended, nil} when ended in [:done, :halted] -> {:ok, []}
    end
  rescue
    error in ErlangPython.Error -> {:error, error}
  end

  defp rest(next), do: Stream.resource(fn -> next end, &pull/1, &close/1)

  defp pull(next) do
    case next.({:cont, nil}) do
      {:suspended, token, next} -> {[token], next}
      {ended, _last} when ended in [:done, :halted] -> {:halt, nil}
    end
  end

  defp close(nil), do: :ok
  defp close(next), do: next.({:halt, nil})

  @doc "The pool's numbers, of `ErlangPython.Pool.stats/1`, and whether a worker is there."
  @spec health() :: {:ok | :unavailable, map()}
  def health do
    stats = ErlangPython.Pool.stats(@pool)
    ready? = stats.workers > stats.starting
    {if(ready?, do: :ok, else: :unavailable), %{ready: ready?, pool: stats}}
  rescue
    error in ErlangPython.Error ->
      {:unavailable, %{ready: false, error: Exception.message(error)}}
  end

  defp options, do: [pool: @pool, timeout: setting(:timeout)]

  defp query(%{"query" => query}) when is_binary(query) do
    cond do
      String.trim(query) == "" ->
        {:error, {:invalid, "\"query\" is empty"}}

      String.length(query) > @longest_query ->
        {:error, {:invalid, "\"query\" is too long: " <> limit()}}

      true ->
        {:ok, query}
    end
  end

  defp query(_params), do: {:error, {:invalid, "\"query\" is missing, or is not a text"}}

  defp limit, do: "#{@longest_query} characters at most"

  defp top(%{"top" => top}) when is_integer(top) and top in 1..@most_matches, do: {:ok, top}

  defp top(%{"top" => _top}),
    do: {:error, {:invalid, "\"top\" is a whole number from 1 to #{@most_matches}"}}

  defp top(_params), do: {:ok, 3}

  defp setting(key), do: Application.fetch_env!(:phoenix_ml, key)
end
