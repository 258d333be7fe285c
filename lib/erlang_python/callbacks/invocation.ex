defmodule ErlangPython.Callbacks.Invocation do
  @moduledoc false
  # One callback, in a process of its own: decode, call, encode, answer.

  alias ErlangPython.Callbacks.{Functions, Origin, Running, Services}
  alias ErlangPython.{Error, Iterator, MessagePack, Protocol}
  alias ErlangPython.MessagePack.EncodeError
  alias ErlangPython.Pool.Pending
  alias ErlangPython.Telemetry.CallbackSpan
  alias ErlangPython.ZMTP.Frame

  require Logger
  require Protocol

  @head_size 9
  # Characters of a failure's text, where that is too large.
  @shown 1_000

  @type failure :: {kind :: String.t(), payload :: list()}

  @doc "Runs in a new process. `origin.parent` is not known yet: it stands in the body."
  @spec run([binary()], Origin.t()) :: term()
  def run([<<_bits::2, type::6, _id::64, body::binary>> | buffers], origin) do
    # For the face of the function they are decoded once more where it differs.
    case MessagePack.decode(body, buffers) do
      {:ok, [parent, target, args, kwargs, trace, context]} when is_integer(parent) ->
        origin = %{origin | parent: parent, context: context}
        begin(type, origin, [target, args, kwargs, trace], {body, buffers})

      {:ok, [parent | rest]} when is_integer(parent) ->
        begin(type, %{origin | parent: parent}, rest, {body, buffers})

      _undecodable ->
        answer(origin, {:error, undecodable("the arguments can't be decoded")})
    end
  end

  defp begin(type, origin, rest, raw) do
    {span, origin, rest} = CallbackSpan.place(operation(type), origin, rest)

    if type == Protocol.type(:cast) do
      cast(rest, raw, span)
    else
      origin = %{origin | callers: callers(origin)}
      Origin.enter(origin)
      Running.enter(origin)

      try do
        result =
          if stopped?(origin),
            do: {:error, stopped()},
            else: CallbackSpan.run(span, fn -> perform(type, rest, raw, origin) end)

        # A result is encoded by code of the user's: while the callback still counts as running.
        message = pack(result, origin)
        if Running.take(self()), do: transmit_outliving(origin, message)
      after
        # A process that its reader could not find any more takes its row along.
        Running.take(self())
      end
    end
  end

  # Tools that look for a process's callers (Mox, Ecto's sandbox) find who waits for the request.
  defp callers(%{parent: 0}), do: []

  defp callers(origin) do
    case Pending.caller(origin.handle, origin.parent) do
      nil -> []
      pid -> Origin.adopt([pid | Running.callers(pid)])
    end
  end

  # Its request was told to stop before this process could be found.
  defp stopped?(origin) do
    not Process.alive?(origin.writer) or
      (origin.parent != 0 and Pending.abandoned?(origin.handle, origin.parent))
  end

  defp operation(Protocol.type(:callback)), do: :call
  defp operation(Protocol.type(:cast)), do: :cast
  defp operation(_service), do: :service

  defp cast(rest, raw, span) do
    case CallbackSpan.run(span, fn -> perform(Protocol.type(:callback), rest, raw, nil) end) do
      {:ok, _value, _face} ->
        :ok

      {:error, failure} ->
        Logger.error("a cast from Python to #{name(rest)} failed: " <> describe(failure))
    end
  end

  # Whatever fails, Python must be told: it waits.
  defp perform(type, rest, raw, origin) do
    serve(type, rest, raw, origin)
  catch
    kind, reason -> {:error, failure(kind, reason, __STACKTRACE__)}
  end

  defp serve(Protocol.type(:service), [name, args], _raw, origin),
    do: Services.call(name, args, origin)

  defp serve(Protocol.type(:callback), [target, args, kwargs], raw, _origin) do
    with {:ok, entry} <- entry(target),
         {:ok, args, kwargs} <- arguments(entry.face, args, kwargs, raw),
         {:ok, args} <- fit(entry, args, kwargs, target),
         do: {:ok, call(entry.function, args), entry.face}
  end

  defp serve(_type, _other, _raw, _origin),
    do: {:error, undecodable("the callback has a wrong form")}

  defp entry(name) when is_binary(name) do
    with :error <- Functions.fetch(name) do
      {:error, {"unknown", ["no function is registered as #{inspect(name)}"]}}
    end
  end

  defp entry(fun) when is_function(fun),
    do: {:ok, %{function: fun, face: :elixir, kwargs: false}}

  defp entry(other), do: {:error, {"type", ["#{inspect(other)} is no function"]}}

  defp arguments(:elixir, args, kwargs, _raw), do: {:ok, args, kwargs}

  defp arguments(:erlang, _args, _kwargs, {body, buffers}) do
    case MessagePack.decode(body, buffers, :erlang) do
      {:ok, [_parent, _target, args, kwargs | _more]} ->
        {:ok, args, if(kwargs == :none, do: nil, else: kwargs)}

      {:error, error} ->
        {:error, {"type", ["the arguments: " <> Exception.message(error)]}}
    end
  end

  defp fit(entry, args, nil, target) do
    case entry do
      %{face: :erlang} -> {:ok, [args]}
      %{kwargs: true} -> check_arity(entry, args ++ [%{}], target)
      _positional -> check_arity(entry, args, target)
    end
  end

  defp fit(%{kwargs: true} = entry, args, kwargs, target),
    do: check_arity(entry, args ++ [kwargs], target)

  defp fit(_entry, _args, _kwargs, target),
    do: {:error, {"type", ["#{name([target])} takes no keyword arguments"]}}

  defp check_arity(%{function: fun} = entry, args, target)
       when is_function(fun) and not is_function(fun, length(args)) do
    {:arity, arity} = Function.info(fun, :arity)
    own = if entry.kwargs, do: 1, else: 0

    takes =
      if arity - own == 1,
        do: "1 positional argument",
        else: "#{arity - own} positional arguments"

    given = length(args) - own
    were = if given == 1, do: "was", else: "were"
    {:error, {"type", ["#{name([target])} takes #{takes} but #{given} #{were} given"]}}
  end

  defp check_arity(_entry, args, _target), do: {:ok, args}

  defp call({module, function}, args), do: apply(module, function, args)
  defp call(fun, args), do: apply(fun, args)

  @doc "What Python is told of a callback that failed."
  @spec failure(:error | :throw | :exit, term(), Exception.stacktrace()) :: failure()
  # The failure of a deeper callback, on its way out through both languages. It is passed on as it is: wrapped
  # at each level, a deep one would grow with the square of its depth.
  def failure(:error, %Error{kind: :elixir, details: %{reason: reason} = details}, _stacktrace),
    do: payload(details.kind, reason, details.stacktrace)

  def failure(kind, reason, stacktrace) do
    reason = if kind == :error, do: Exception.normalize(:error, reason, stacktrace), else: reason

    payload(kind, reason, stacktrace |> Enum.reject(&ours?/1) |> Exception.format_stacktrace())
  end

  @doc "What Python is told where an error of the library's stands in place of a result."
  @spec refused(Error.t()) :: failure()
  def refused(%Error{message: message} = error),
    do: {"elixir", ["error", message, message, %MessagePack.Opaque{term: error}, ""]}

  defp undecodable(message),
    do: refused(%Error{kind: :decode, message: message, executed: :no})

  defp payload(kind, reason, stacktrace) do
    banner = Exception.format_banner(kind, reason, [])
    term = %MessagePack.Opaque{term: reason}
    {"elixir", [Atom.to_string(kind), shown(kind, reason), banner, term, stacktrace]}
  end

  defp ours?({module, _function, _arity, _location}), do: module == __MODULE__
  defp ours?(_other), do: false

  defp shown(:error, exception), do: Exception.message(exception)

  defp shown(_kind, reason) do
    case encode(reason, :elixir) do
      {:ok, _bytes, []} -> reason
      _other -> inspect(reason)
    end
  end

  defp name([name | _]) when is_binary(name), do: name
  defp name([other | _]), do: inspect(other)
  defp name(_none), do: "a function"

  defp describe({"elixir", [_kind, _reason, message, _term, stacktrace]}),
    do: message <> "\n" <> stacktrace

  defp describe({_kind, [message]}), do: message

  # --- the answer

  @doc "Tells the thread that waits. The callback must have been taken out of `Running`."
  @spec answer(Origin.t(), {:error, failure()}) :: term()
  def answer(origin, failed), do: transmit(origin, pack(failed, origin))

  @doc "What the threads of a request are told that was stopped."
  @spec stopped() :: failure()
  def stopped, do: failure(:exit, :cancelled, [])

  @spec pack({:ok, term(), :elixir | :erlang} | {:error, failure()}, Origin.t()) ::
          {type :: byte(), iodata(), [binary()]}
  defp pack({:ok, value, face}, origin) do
    with {:ok, packed, buffers} <- encode(value, face),
         :ok <- check_size("result", packed, buffers, origin) do
      {Protocol.type(:answer), packed, buffers}
    else
      {:error, {_kind, _payload}} = failed -> pack(failed, origin)
      {:error, %Error{} = error} -> pack({:error, refused(error)}, origin)
      {:error, %EncodeError{} = error} -> pack({:error, refused(unencodable(error))}, origin)
    end
  end

  defp pack({:error, {kind, payload}}, origin) do
    {:ok, packed, buffers} = MessagePack.encode([kind, payload])

    case check_size("failure", packed, buffers, origin) do
      :ok ->
        {Protocol.type(:answer_error), packed, buffers}

      {:error, %Error{message: message} = error} ->
        pack({:error, refused(%{error | message: message <> about(payload)})}, origin)
    end
  end

  defp unencodable(error) do
    %Error{
      kind: :encode,
      message: "the result: " <> Exception.message(error),
      executed: :yes,
      details: %{path: "result" <> EncodeError.format_path(error.path)}
    }
  end

  # The exception held too much.
  defp about([_kind, _reason, banner, _term, _stacktrace]),
    do: ": " <> String.slice(banner, 0, @shown)

  defp about([_message]), do: ""

  # A struct's own encoder may fail in any way.
  defp encode(value, face) do
    MessagePack.encode(value, face)
  catch
    kind, reason -> {:error, failure(kind, reason, __STACKTRACE__)}
  end

  defp check_size(what, packed, buffers, %{handle: %{options: %{max_message_size: limit}}}) do
    case @head_size + IO.iodata_length([packed | buffers]) do
      size when size <= limit ->
        :ok

      size ->
        {:error,
         %Error{
           kind: :too_large,
           message: "the #{what} has #{size} bytes, the pool's :max_message_size is #{limit}",
           executed: :yes,
           details: %{size: size, limit: limit}
         }}
    end
  end

  # An iterator in an answer outlives this process. One that Python never gets, since the rest of the answer could not be
  # encoded or the callback was stopped meanwhile, ends with it.
  defp transmit_outliving(origin, {type, _packed, _buffers} = message) do
    if type == Protocol.type(:answer),
      do: Iterator.hand_over(Iterator.take_started(), origin.worker)

    transmit(origin, message)
  end

  defp transmit(origin, {type, packed, buffers}) do
    head = Protocol.mark_buffers([Protocol.head(type, origin.id) | packed], buffers)
    send(origin.writer, {:tx, Frame.encode_message([head | buffers])})
  end
end
