defmodule ErlangPython.Ref do
  @moduledoc """
  A Python object that stays in its worker: a model, a data frame, an open connection, anything that has no form in Elixir or is too
  large to carry back and forth.

      iex> {:ok, counter} = ErlangPython.call(:collections, :Counter, ["banana"], return: :ref)
      iex> counter.type
      "collections.Counter"
      iex> ErlangPython.Ref.call(counter, :most_common, [1])
      {:ok, [{"a", 3}]}
      iex> ErlangPython.call(:builtins, :len, [counter])
      {:ok, 3}
      iex> ErlangPython.Ref.value(counter)
      {:ok, %{"a" => 3, "b" => 1, "n" => 2}}
      iex> ErlangPython.Ref.release(counter)
      :ok

  `ErlangPython.call/4`, `eval/3`, `run/3`, `async/4` and the functions here make one with `return: :ref`. Passed as an
  argument, within one, or as a binding, it is the very object in Python.

  ## Where its requests run

  In its worker, between two requests of that. A request with a Ref among its arguments goes there by itself, also to another pool than the
  default one, and never to another worker. A request can't be in two places: with Refs of two workers, or with a Ref and a `:pool` or `:context`
  (also one that the process is bound to) of another worker, it is an error of kind `:encode`, and nothing has run. The functions of this
  module go to the Ref's worker whatever the calling process is bound to.

  ## How long it lives

  A Ref belongs to the process whose request made it (of a task of `ErlangPython.async/4`, to the process that started it); other processes may use it. The object is let go
  when the Ref is released or its owner ends. A context does not hold the Refs that were made in it.

  | what has happened | later uses |
  |---|---|
  | `release/1`, or its owner has ended | an error of kind `:context_closed` |
  | its worker has died or was replaced, or its pool has stopped | an error of kind `:context_lost` |

  A worker is replaced (`:max_requests`, `:max_memory`, `ErlangPython.Pool.restart/1`) whether it holds objects or not.

  ## Fields

  `:type` is the class of the object as text, `:pool` the name of its pool, `:owner` its owner; the others are the library's own.
  """

  alias ErlangPython.{Error, Request}
  alias ErlangPython.Pool.Refs
  alias ErlangPython.Request.{Options, Text}

  @enforce_keys [:id, :name, :type, :owner, :pool, :pool_id, :slot, :generation]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          id: pos_integer(),
          name: binary(),
          type: String.t(),
          owner: pid(),
          pool: atom(),
          pool_id: reference(),
          slot: pos_integer(),
          generation: pos_integer()
        }

  @type result :: {:ok, term()} | {:error, Error.t()}

  # The module of the worker that these call, see priv/python/erlang_python_worker/_kept.py.
  @python "erlang_python_worker._kept"

  @doc """
  An attribute of the object, with dots one of an attribute's: its value, or a Ref to it with `return: :ref`.

      iex> {:ok, path} = ErlangPython.call(:pathlib, :PurePath, ["/tmp/report.csv"], return: :ref)
      iex> ErlangPython.Ref.get(path, :suffix)
      {:ok, ".csv"}
      iex> ErlangPython.Ref.get(path, "parent.name")
      {:ok, "tmp"}

  Options: `:timeout` and `:return` as in `ErlangPython.call/4`.
  """
  @spec get(t(), atom() | String.t(), keyword()) :: result()
  def get(ref, attribute, opts \\ []) do
    message = {:call, @python, "get", [check(ref), Text.name!(:attribute, attribute)]}
    run(message, ref, opts, [:timeout, :return])
  end

  @doc "As `get/3`, but gives the value or raises `ErlangPython.Error`."
  @spec get!(t(), atom() | String.t(), keyword()) :: term()
  def get!(ref, attribute, opts \\ []), do: value_of!(get(ref, attribute, opts))

  @doc """
  Calls a method of the object.

      iex> {:ok, list} = ErlangPython.eval("[3, 1, 2]", %{}, return: :ref)
      iex> ErlangPython.Ref.call(list, :sort, [], kwargs: [reverse: true])
      {:ok, nil}
      iex> ErlangPython.Ref.value(list)
      {:ok, [3, 2, 1]}

  Options: `:kwargs`, `:timeout`, `:return` and `:progress` as in `ErlangPython.call/4`.
  """
  @spec call(t(), atom() | String.t(), list(), keyword()) :: result()
  def call(ref, method, args \\ [], opts \\ [])

  def call(ref, method, args, opts) when is_list(args) do
    message = {:call, [check(ref)], Text.name!(:method, method), args}
    run(message, ref, opts, [:kwargs, :timeout, :return, :progress])
  end

  def call(_ref, _method, args, _opts),
    do: raise(ArgumentError, "expected the arguments as a list, got: #{inspect(args)}")

  @doc "As `call/4`, but gives the value or raises `ErlangPython.Error`."
  @spec call!(t(), atom() | String.t(), list(), keyword()) :: term()
  def call!(ref, method, args \\ [], opts \\ []), do: value_of!(call(ref, method, args, opts))

  @doc """
  The object's value in Elixir, as if the request that made it had returned it; an error of kind `:encode` if it has none.

  Options: `:timeout` as in `ErlangPython.call/4`.
  """
  @spec value(t(), keyword()) :: result()
  def value(ref, opts \\ []),
    do: run({:call, @python, "value", [check(ref)]}, ref, opts, [:timeout])

  @doc "As `value/2`, but gives the value or raises `ErlangPython.Error`."
  @spec value!(t(), keyword()) :: term()
  def value!(ref, opts \\ []), do: value_of!(value(ref, opts))

  @doc """
  Lets the object go: Python frees it, if nothing else holds it, when the requests before it have ended. `:ok` also if it was
  released or lost already. Any process of its node may; on another one it raises `ErlangPython.Error`.
  """
  @spec release(t()) :: :ok
  def release(ref), do: ref |> check() |> Refs.release()

  # It is the Ref that says where, not what the process is bound to.
  defp run(message, ref, opts, known) do
    options = Options.new!(opts, known)

    # First, because a pool that has stopped may be one that starts with its next use.
    with {:ok, _handle, _place} <- Refs.fetch(ref),
         do: Request.run(message, %{options | pool: ref.pool, context: nil, placed?: true})
  end

  defp check(%__MODULE__{} = ref), do: ref

  defp check(other),
    do: raise(ArgumentError, "expected an ErlangPython.Ref, got: #{inspect(other)}")

  defp value_of!({:ok, value}), do: value
  defp value_of!({:error, error}), do: raise(error)

  defimpl Inspect do
    def inspect(ref, _opts),
      do: "#ErlangPython.Ref<#{ref.type} #{ref.id} in #{Kernel.inspect(ref.pool)}>"
  end
end
