defmodule ErlangPython.ErlangFace.Calls do
  @moduledoc false
  # The calls of `:py`: Erlang's ways to write names and code in, Erlang's shapes of results out.

  import ErlangPython.Timeout, only: [is_timeout: 1]

  alias ErlangPython.ErlangFace.{Reason, Streams, Text}
  alias ErlangPython.{Pool, Request}
  alias ErlangPython.Pool.Handle
  alias ErlangPython.Request.{Fanout, Message, Options}

  @default_timeout 30_000

  @type result :: {:ok, term()} | {:error, Reason.t()}

  @spec call(term(), term(), term(), term(), term()) :: result()
  def call(module, function, args, kwargs \\ %{}, timeout \\ @default_timeout) do
    with {:ok, message} <- call_message(module, function, args),
         {:ok, kwargs} <- names(kwargs),
         {:ok, options} <- options(timeout) do
      request(message, %{options | kwargs: kwargs})
    end
  end

  @spec eval(term(), term(), term()) :: result()
  def eval(code, locals \\ %{}, timeout \\ @default_timeout) do
    with {:ok, code} <- Text.code(code),
         {:ok, locals} <- names(locals),
         {:ok, options} <- options(timeout) do
      request({:eval, code, locals}, options)
    end
  end

  @spec exec(term(), term()) :: :ok | {:error, Reason.t()}
  def exec(code, timeout \\ @default_timeout) do
    with {:ok, code} <- Text.code(code),
         {:ok, options} <- options(timeout),
         {:ok, _none} <- request({:exec, code, nil}, options) do
      :ok
    end
  end

  @spec cast(term(), term(), term(), term()) :: :ok | {:error, :invalid_args}
  def cast(module, function, args, kwargs \\ %{}) do
    with {:ok, message} <- call_message(module, function, args),
         {:ok, kwargs} <- names(kwargs),
         {:ok, options} <- options(:infinity) do
      Fanout.cast(message, %{options | kwargs: kwargs})
    end
  end

  @spec version() :: result()
  def version do
    {:ok, ErlangPython.info().python}
  rescue
    error in ErlangPython.Error -> {:error, Reason.of(error)}
  end

  # A value that is an iterator stays in its worker.
  defp request(message, options), do: message |> Request.open(options) |> result()

  @doc "The end of a request in Erlang's shape."
  @spec result(
          {:ok, term()}
          | {:opened, Handle.t(), Pool.Streams.t(), term()}
          | {:error, ErlangPython.Error.t()}
        ) :: result()
  def result({:ok, value}), do: {:ok, value}
  def result({:opened, handle, stream, _nil}), do: {:ok, Streams.handle(handle, stream)}
  def result({:error, error}), do: {:error, Reason.of(error)}

  @doc "A request as a tuple."
  @spec message(term()) :: {:ok, Message.t(), Options.t()} | {:error, :invalid_args}
  def message({:call, module, function, args}), do: message({:call, module, function, args, %{}})

  def message({:call, module, function, args, kwargs}) do
    with {:ok, message} <- call_message(module, function, args),
         {:ok, kwargs} <- names(kwargs),
         {:ok, options} <- options(@default_timeout),
         do: {:ok, message, %{options | kwargs: kwargs}}
  end

  def message({:exec, code}), do: message({:exec, code, %{}})
  def message({:eval, code}), do: message({:eval, code, %{}})

  def message({kind, code, locals}) when kind in [:eval, :exec] do
    with {:ok, code} <- Text.code(code),
         {:ok, locals} <- names(locals),
         {:ok, options} <- options(@default_timeout),
         do: {:ok, {kind, code, locals}, options}
  end

  def message(_other), do: {:error, :invalid_args}

  @doc "What opens a stream; each of its items has the default timeout."
  @spec stream_message(term(), term(), term(), term()) ::
          {:ok, Message.t(), Options.t()} | {:error, :invalid_args}
  def stream_message(module, function, args, kwargs) do
    with {:ok, {:call, module, function, args}} <- call_message(module, function, args),
         {:ok, kwargs} <- names(kwargs),
         {:ok, options} <- options(@default_timeout) do
      {:ok, {:stream_call, module, function, args}, %{options | kwargs: kwargs}}
    end
  end

  @spec stream_eval_message(term(), term()) ::
          {:ok, Message.t(), Options.t()} | {:error, :invalid_args}
  def stream_eval_message(code, locals) do
    with {:ok, code} <- Text.code(code),
         {:ok, locals} <- names(locals),
         {:ok, options} <- options(@default_timeout) do
      {:ok, {:stream_eval, code, locals}, options}
    end
  end

  defp call_message(module, function, args) when is_list(args) do
    with {:ok, module} <- Text.name(module),
         {:ok, function} <- Text.name(function) do
      {:ok, {:call, module, function, args}}
    end
  end

  defp call_message(_module, _function, _args), do: {:error, :invalid_args}

  defp names(empty) when empty == %{} or empty == [], do: {:ok, nil}
  defp names(names) when is_map(names), do: names |> Map.to_list() |> names()

  defp names(names) when is_list(names), do: pairs(names, %{})
  defp names(_other), do: {:error, :invalid_args}

  defp pairs([{name, value} | rest], acc) do
    with {:ok, name} <- Text.name(name), do: pairs(rest, Map.put(acc, name, value))
  end

  defp pairs([], acc), do: {:ok, acc}
  defp pairs(_no_pair_or_no_tail, _acc), do: {:error, :invalid_args}

  @spec options(term()) :: {:ok, Options.t()} | {:error, :invalid_args}
  def options(timeout) when is_timeout(timeout),
    do: {:ok, %{Options.new!([], []) | timeout: timeout, face: :erlang}}

  def options(_timeout), do: {:error, :invalid_args}
end
