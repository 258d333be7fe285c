defmodule ErlangPython.MessagesTest do
  # The golden messages: written by the code that writes them in a pool, and read.
  use ExUnit.Case, async: true

  import ErlangPython.Vectors

  alias ErlangPython.Callbacks.Invocation
  alias ErlangPython.{Error, MessagePack, Protocol}
  alias ErlangPython.MessagePack.Handle
  alias ErlangPython.Request.{Message, Options, Reply}
  alias ErlangPython.Worker.State
  alias ErlangPython.ZMTP.Decoder

  @rows rows("messages.tsv")
  @max_size 1_000_000

  for [name, direction, hex, elixir, _python, _what] <- @rows do
    if direction == "to_python" do
      test "#{name} is written" do
        frames = unquote(hex) |> frames() |> seal()
        assert frames |> message() |> written(value(unquote(elixir))) == frames
      end
    else
      test "#{name} is read" do
        message = unquote(hex) |> frames() |> seal() |> message()
        # First, as the atoms must exist.
        expected = value(unquote(elixir))
        assert comparable(body(message)) === comparable(expected)
        assert_end(message, expected)
      end
    end
  end

  test "each type has a message of its name, that goes its way" do
    for [name, direction, hex | _columns] <- @rows do
      message = hex |> frames() |> message()
      assert Atom.to_string(message.name) == name |> String.split() |> hd() |> String.downcase()
      from_python? = message.type in 0x10..0x20 or message.type in 0x31..0x34
      assert {name, direction == "to_elixir"} == {name, from_python? and message.buffers == []}
    end

    names = for [_name, _direction, hex | _columns] <- @rows, do: message(frames(hex)).name
    assert Keyword.keys(Protocol.types()) -- names == []
  end

  # --- frames

  defp frames(hex), do: hex |> String.split() |> Enum.map(&bytes/1)

  defp message([<<more::1, nested::1, type::6, id::64, body::binary>> | buffers] = frames) do
    assert more == min(length(buffers), 1)
    {name, ^type} = List.keyfind(Protocol.types(), type, 1)

    open(%{
      name: name,
      type: type,
      inner: name,
      id: id,
      nested?: nested == 1,
      trace: nil,
      body: body,
      buffers: buffers,
      frames: frames
    })
  end

  # What stands before the body of these.
  defp open(%{name: :traced, body: <<mode, _::binary-25, _::binary>> = body} = message) do
    <<_::binary-26, more::binary>> = body

    size =
      case {Bitwise.band(mode, 4), more} do
        {0, _more} -> 26
        {4, <<size::16, _::binary>>} -> 28 + size
      end

    {trace, <<type, body::binary>>} = :erlang.split_binary(body, size)
    {inner, ^type} = List.keyfind(Protocol.types(), type, 1)
    %{message | inner: inner, trace: trace, body: body}
  end

  defp open(%{name: :timed, body: <<_times::128, type, body::binary>>} = message) do
    {inner, ^type} = List.keyfind(Protocol.types(), type, 1)
    %{message | inner: inner, body: body}
  end

  defp open(%{name: :spans, body: <<0::32, 1::32, body::binary>>} = message),
    do: %{message | body: body}

  defp open(message), do: message

  # A handle in the file has these bytes for those which this BEAM's key would give.
  @mac Enum.into(0..15, <<>>, &<<&1>>)

  defp seal([frame | buffers]) do
    # Which makes the key.
    Handle.seal(nil)
    key = :persistent_term.get({Handle, :key})

    case :binary.split(frame, @mac) do
      [before, rest] ->
        {_term, size} = :erlang.binary_to_term(rest, [:used])
        mac = :crypto.macN(:hmac, :sha256, key, binary_part(rest, 0, size), 16)
        [before <> mac <> rest | buffers]

      [_frame] ->
        [frame | buffers]
    end
  end

  # --- values

  defp value("-"), do: :none
  defp value(source), do: evaluate(source)

  defp body(%{body: ""}), do: :none

  defp body(%{body: body, buffers: buffers}) do
    assert {:ok, value} = MessagePack.decode(body, buffers)
    value
  end

  # --- the ends of requests, as their callers get them

  defp assert_end(%{inner: :result} = message, value),
    do: assert(Reply.read(message.frames, :elixir) == {:ok, value})

  defp assert_end(%{inner: what} = message, value) when what in [:opened, :kept],
    do: assert(Reply.read(message.frames, :elixir) == {what, value})

  defp assert_end(%{inner: :cancelled} = message, :none),
    do: assert({:error, %Error{kind: :cancelled}} = Reply.read(message.frames, :elixir))

  defp assert_end(%{inner: :error} = message, [kind | _payload]) do
    kind = if kind in ["context", "released"], do: "context_closed", else: kind
    assert {:error, error} = Reply.read(message.frames, :elixir)
    assert Atom.to_string(error.kind) == kind
  end

  defp assert_end(_other, _value), do: :ok

  # --- writing

  defp written(%{inner: kind} = message, [module, function, args, kwargs | rest])
       when kind in [:call, :stream_call],
       do: request({kind, module, function, args}, %Options{kwargs: kwargs}, rest, message)

  defp written(%{inner: kind} = message, [code, bindings, file, line | rest])
       when kind in [:eval, :exec, :run, :stream_eval],
       do: request({kind, code, bindings}, %Options{file: file, line: line}, rest, message)

  defp written(%{name: :pull, id: id}, [stream, most]),
    do: {:pull, stream, most, nil} |> Message.control(id, false) |> sent()

  defp written(%{name: kind, id: id}, [what]) when kind in [:close, :drop_context, :release],
    do: {kind, what} |> Message.control(id, false) |> sent()

  defp written(%{name: :move, id: id}, :none), do: id |> Message.move() |> sent()

  defp written(%{name: :answer_error, id: id}, [kind, payload]) do
    handle = %{options: %{max_message_size: @max_size}}
    Invocation.answer(%{id: id, handle: handle, writer: self()}, {:error, {kind, payload}})
    receive_sent()
  end

  defp written(%{type: type, id: id}, value) do
    State.tell(%{writers: %{main: self()}}, :main, type, id, value)
    receive_sent()
  end

  defp request(request, options, [form | more], %{id: id, nested?: nested?} = message) do
    options =
      options
      |> Map.merge(Enum.at([%{face: :elixir}, %{face: :erlang}, %{return: :ref}], form))
      |> Map.put(:trace, message.trace)

    options = if more == [], do: options, else: %{options | context: %{id: hd(more)}}

    case Message.encode(request, id, options, @max_size, nested?) do
      {:ok, wire} -> sent(wire)
      {:refs, packed, [_ref]} -> {:request, packed} |> Message.control(id, nested?) |> sent()
    end
  end

  defp receive_sent do
    assert_received {:tx, wire}
    sent(wire)
  end

  # One message, as ZMTP frames it.
  defp sent(wire) do
    decoder = Decoder.new(@max_size, 10)
    assert {:ok, [frames], [], _decoder} = Decoder.feed(decoder, IO.iodata_to_binary(wire))
    frames
  end
end
